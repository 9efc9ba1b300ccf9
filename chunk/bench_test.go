package chunk

import (
	"bytes"
	"encoding/base64"
	"math/rand"
	"testing"
)

// attachmentMail is a mail of about 1.4 MB with one attachment.
func attachmentMail() []byte {
	data := make([]byte, 1<<20)
	rand.New(rand.NewSource(1)).Read(data)
	var c base64Coder
	b := bytes.NewBufferString("Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nHello\n--b\n" +
		"Content-Transfer-Encoding: base64\n\n")
	c.encode(data, 76, func(block []byte) bool { b.Write(block); return true })
	b.WriteString("\n--b--\n")
	return b.Bytes()
}

func BenchmarkCut(b *testing.B) {
	mail := attachmentMail()
	c := newCutter(b)
	b.SetBytes(int64(len(mail)))
	b.ReportAllocs()
	for b.Loop() {
		c.Cut(mail)
	}
}

// BenchmarkCutWithoutHashes is split, decode and proof.
func BenchmarkCutWithoutHashes(b *testing.B) {
	mail := attachmentMail()
	c := newCutter(b)
	c.Cut(mail)
	recipe := c.recipe(mail)
	b.SetBytes(int64(len(mail)))
	for b.Loop() {
		c.scanner.scan(mail)
		for _, l := range c.scanner.leaves {
			if l.base64 {
				c.decode(c.decoded[:0], mail[l.start:l.end])
			}
		}
		c.proven(recipe, mail)
	}
}

func BenchmarkDecodeBase64(b *testing.B) {
	mail := attachmentMail()
	var c base64Coder
	var s scanner
	s.scan(mail)
	l := s.leaves[len(s.leaves)-1]
	b.SetBytes(int64(l.end - l.start))
	buf := make([]byte, 0, len(mail))
	for b.Loop() {
		c.decode(buf, mail[l.start:l.end])
	}
}

func BenchmarkEncodeBase64(b *testing.B) {
	data := make([]byte, 1<<20)
	var c base64Coder
	b.SetBytes(int64(base64.StdEncoding.EncodedLen(len(data))))
	for b.Loop() {
		c.encode(data, 76, func(block []byte) bool { return true })
	}
}

func BenchmarkSplit(b *testing.B) {
	data := make([]byte, 8<<20)
	rand.New(rand.NewSource(1)).Read(data)
	c := newCutter(b)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		c.Split(data)
	}
}

func BenchmarkRebuild(b *testing.B) {
	mail := attachmentMail()
	m := newCutter(b).Cut(mail)
	b.SetBytes(int64(len(mail)))
	for b.Loop() {
		if _, err := RebuildMessage(nil, m.ID, m.Recipe, fetchFrom(m)); err != nil {
			b.Fatal(err)
		}
	}
}
