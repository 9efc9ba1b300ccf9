package carve

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestHeaders(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       Facts
	}{
		{"delivered", "Return-Path: <ann@example.org>\nDelivered-To: Bob@Example.org\nReceived: from x by y (Cyrus 3.6) with LMTPA\n\tfor <bob+list@example.org>; Mon\nX-Sieve: CMU Sieve 3.0\nX-Original-To: info@example.org\nFrom: =?utf-8?q?Ann_M=C3=BCller?= <Ann@example.org>\nTo: Bob <bob@example.org>,\n eve@example.org\nCc: undisclosed\nSubject: =?iso-8859-1?q?gr=FC=DFe?=\n =?utf-8?b?IPCfmYI=?=\nMessage-ID: <1@example.org>\nDate: Mon, 1 Jul 2024 10:00:00 +0200\n\nTo: nobody@example.org\n", Facts{
			Delivered:  []Recipient{{"Delivered-To", "bob@example.org"}, {"X-Original-To", "info@example.org"}, {"Received", "bob+list@example.org"}},
			To:         []Recipient{{"To", "bob@example.org"}, {"To", "eve@example.org"}},
			ReturnPath: "ann@example.org", From: "Ann Müller <Ann@example.org>", FromAddr: "ann@example.org", Subject: "grüße 🙂", MessageID: "<1@example.org>",
			Date: time.Date(2024, 7, 1, 8, 0, 0, 0, time.UTC), Sieve: "CMU Sieve 3.0", Cyrus: true,
		}},
		{"draft", "Subject: a\x1b[31mb\u202e\x00c\r\nFrom: me@example.org\r\n\r\n", Facts{Subject: "a[31mbc", From: "me@example.org", FromAddr: "me@example.org", Draft: true}},
		{"local", "Delivered-To: bob\nTo: \"broken <x@example.org\n", Facts{Delivered: []Recipient{{"Delivered-To", "bob"}}, To: []Recipient{{"To", "x@example.org"}}}},
		{"empty", "", Facts{Draft: true}},
		{"separator", "From a@example.org Mon Jul  1 10:00:00 2024\nSubject: x\n\n", Facts{Subject: "x", Draft: true}},
	} {
		got, err := Headers(strings.NewReader(c.text))
		got.Date = got.Date.UTC()
		c.want.Date = c.want.Date.UTC()
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	long := "Subject: " + strings.Repeat("é", 9000) + "\n" + strings.Repeat("To: a@example.org\n", 999) + "X: " + strings.Repeat("y", 300<<10) + "\nFrom: late@example.org\n"
	got, err := Headers(strings.NewReader(long))
	if err != nil || len(got.Subject) > maxShown || len(got.To) != maxAddresses || got.From != "" {
		t.Errorf("%d bytes, %d addresses, from %q, %v", len(got.Subject), len(got.To), got.From, err)
	}
}
