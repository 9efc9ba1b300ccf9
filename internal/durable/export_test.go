package durable

import "io/fs"

// WriteOn and CreateOn are WriteFile and CreateFile on any FS.
func WriteOn(fsys FS, base string, data []byte, perm fs.FileMode) error {
	return place(fsys, base, data, perm, FS.Replace)
}

func CreateOn(fsys FS, base string, data []byte, perm fs.FileMode) error {
	return place(fsys, base, data, perm, FS.Publish)
}
