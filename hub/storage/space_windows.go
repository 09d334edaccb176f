package storage

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// space is what may be written to the disk of dir, and the size of it, in bytes.
func space(dir string) (free, total int64, err error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, err
	}
	var available, size uint64
	err = windows.GetDiskFreeSpaceEx(path, &available, &size, nil)
	return int64(available), int64(size), err
}

// allocate makes a file of size bytes that really takes up room.
func allocate(path string, size int64) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(fill(file, size), file.Close())
}
