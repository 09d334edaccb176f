// Package vault encrypts what the hub must be able to read back: jobs'
// environments, the credentials of registries, its own signing secrets.
//
// Values are sealed with AES-256-GCM under the master key and bound to their row
// and column: what was sealed for one place opens at no other. The key is given
// (SLIPWAY_MASTER_KEY) or kept in a file outside the data folder, so a copy of the
// data folder, or a backup of the database, opens nothing.
//
// Each sealed value begins with the id of its key, which is derived from the key
// and no secret. Rotation: a new key comes first, the previous ones still open;
// Reseal encrypts everything anew and says when a previous key is of no more use.
// The database remembers the ids of the keys that it needs, so that a wrong or
// missing key is told at the start.
//
// What is not claimed: that who can read the hub's memory, or both the key and
// the database, learns nothing. Changing the key does not change what was sealed.
package vault
