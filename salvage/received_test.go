package salvage

import (
	"testing"
	"time"
)

func TestReceived(t *testing.T) {
	want := time.Date(2006, 10, 26, 16, 30, 1, 0, time.UTC)
	for header, ok := range map[string]bool{
		"Received: from a by b; Thu, 26 Oct 2006 18:30:01 +0200\r\nReceived: from c; Wed, 25 Oct 2006 18:30:01 +0200\r\n\r\n": true,
		"Return-Path: <a@b>\nReceived: from a (b; c)\n\tby d with LMTP;\n  Thu, 26 Oct 2006 16:30:01 +0000 (UTC)\nTo: x\n\n":  true,
		"Received: from a by b\nDate: Thu, 26 Oct 2006 18:30:01 +0200\n\n":                                                    false,
		"Received:\n": false,
		"Received: ;": false,
		"":            false,
	} {
		if got := received([]byte(header)); !got.IsZero() != ok || ok && !got.Equal(want) {
			t.Errorf("%q: %v", header, got)
		}
	}
}
