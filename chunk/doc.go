// Package chunk cuts mail where mail repeats, and puts it together again.
package chunk
