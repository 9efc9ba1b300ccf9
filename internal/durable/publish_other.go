//go:build !linux

package durable

// Publish implements FS.
func (r *Root) Publish(from, to string) error { return r.link(from, to) }
