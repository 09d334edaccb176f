package storage

import (
	"errors"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// IsFull says whether err comes of a full disk, or of a quota.
func IsFull(err error) bool {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return true
	}
	var db *sqlite.Error
	if !errors.As(err, &db) {
		return false
	}
	switch db.Code() {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE:
		return true // SQLite tells ENOSPC as any of these, see os_unix.c
	}
	return false
}
