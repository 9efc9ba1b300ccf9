package chunk_test

import (
	"fmt"
	"log"
	"strings"

	"salvor/chunk"
)

// A mail is cut, kept in a map, and put together again.
func Example() {
	mail := "From: alice@example.org\nSubject: report\n\n" + strings.Repeat("All is well.\n", 100)

	cutter, err := chunk.NewCutter(chunk.DefaultParams())
	if err != nil {
		log.Fatal(err)
	}
	message := cutter.Cut([]byte(mail))
	held := map[chunk.ID][]byte{}
	for _, part := range message.Parts {
		held[part.ID] = append([]byte{}, part.Data...)
	}
	fmt.Println(len(message.Parts), "part,", message.Size, "bytes in wire form")

	lf, err := chunk.RebuildMessage(nil, message.ID, message.Recipe, func(ref chunk.PartRef) ([]byte, error) {
		data, ok := held[ref.ID]
		if !ok {
			return nil, fmt.Errorf("part %s is not held", ref.ID)
		}
		return data, nil
	})
	if err != nil {
		log.Fatal(err)
	}
	stored, err := message.LineEnds.Restore(nil, lf)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(stored) == mail)
	// Output:
	// 1 part, 1444 bytes in wire form
	// true
}

// A long part is stored as several chunks, and a list of them.
func ExampleCutter_Split() {
	cutter, err := chunk.NewCutter(chunk.DefaultParams())
	if err != nil {
		log.Fatal(err)
	}
	part := make([]byte, 5<<20)
	var ids []chunk.ID
	for _, piece := range cutter.Split(part) {
		ids = append(ids, chunk.Sum(piece))
	}
	list := chunk.EncodePartList(ids, int64(len(part)))
	ids, size, err := chunk.DecodePartList(list)
	fmt.Println(len(ids), size, err)
	// Output: 40 5242880 <nil>
}

// The same mail in a Maildir and in Cyrus is one content.
func ExampleWireSums() {
	maildir, _, _ := chunk.WireSums([]byte("Subject: s\n\nHello\n"))
	cyrus, guid, size := chunk.WireSums([]byte("Subject: s\r\n\r\nHello\r\n"))
	fmt.Println(maildir == cyrus, guid, size)
	// Output: true 356e5b5f26a21c0e6e046764ecbb39e8e07736e9 21
}
