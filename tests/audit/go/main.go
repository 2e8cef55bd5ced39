// Checks a log of ours with golang.org/x/mod/sumdb/{note,tlog}: nothing here is ours but the
// reading of files, and cosignatures by their specification. Arguments: a folder of tiles, the
// log's verify key, a file of proofs, and the vkeys of witnesses that must have cosigned.
package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Proofs is what our side claims, all of it made by our own code.
type Proofs struct {
	Records []struct {
		Index int64    `json:"index"`
		Leaf  []byte   `json:"leaf"`
		Path  [][]byte `json:"path"`
	} `json:"records"`
	Trees []struct {
		Size int64    `json:"size"`
		Root []byte   `json:"root"`
		Path [][]byte `json:"path"`
	} `json:"trees"`
}

// reader reads tiles by tlog-tiles' paths, which are sumdb's without the height.
type reader struct{ folder string }

func (r reader) Height() int { return 8 }

func (r reader) SaveTiles([]tlog.Tile, [][]byte) {}

func (r reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
		data, err := os.ReadFile(filepath.Join(r.folder, path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func hash(data []byte) (h tlog.Hash) {
	if len(data) != tlog.HashSize {
		fail("hash", fmt.Errorf("%d bytes", len(data)))
	}
	copy(h[:], data)
	return h
}

func hashes(parts [][]byte) (all []tlog.Hash) {
	for _, part := range parts {
		all = append(all, hash(part))
	}
	return all
}

func fail(what string, err error) {
	if err != nil {
		fmt.Printf("%s: %v\n", what, err)
		os.Exit(1)
	}
}

// cosigner is a note.Verifier for c2sp.org/tlog-cosignature, Ed25519 (type 0x04).
type cosigner struct {
	name   string
	public ed25519.PublicKey
}

func (c cosigner) Name() string { return c.name }

func (c cosigner) KeyHash() uint32 {
	id := sha256.Sum256([]byte(c.name + "\n\x04" + string(c.public)))
	return binary.BigEndian.Uint32(id[:4])
}

func (c cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	at := binary.BigEndian.Uint64(sig[:8])
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", at, msg)
	return at > 0 && ed25519.Verify(c.public, []byte(signed), sig[8:])
}

// witness reads a vkey of type 0x04: name+keyid+base64.
func witness(vkey string) cosigner {
	parts := strings.SplitN(vkey, "+", 3)
	key, err := base64.StdEncoding.DecodeString(parts[2])
	fail("witness", err)
	found := cosigner{parts[0], key[1:]}
	if key[0] != 4 || fmt.Sprintf("%08x", found.KeyHash()) != parts[1] {
		fail("witness", fmt.Errorf("its key id is not %s", parts[1]))
	}
	return found
}

// head opens the checkpoint as a signed note and reads its size and root.
func head(folder, key string, witnesses []string) tlog.Tree {
	verifier, err := note.NewVerifier(key)
	fail("key", err)
	known := []note.Verifier{verifier}
	for _, vkey := range witnesses {
		known = append(known, witness(vkey))
	}
	text, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	fail("checkpoint", err)
	opened, err := note.Open(text, note.VerifierList(known...))
	fail("note", err)
	if len(opened.Sigs) != len(known) {
		fail("note", fmt.Errorf("%d of %d known signatures", len(opened.Sigs), len(known)))
	}
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	fail("size", err)
	root, err := tlog.ParseHash(lines[2])
	fail("root", err)
	return tlog.Tree{N: size, Hash: root}
}

func same(a, b []tlog.Hash) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func main() {
	folder, key := os.Args[1], os.Args[2]
	tree := head(folder, key, os.Args[4:])
	data, err := os.ReadFile(os.Args[3])
	fail("proofs", err)
	var proofs Proofs
	fail("proofs", json.Unmarshal(data, &proofs))
	tiles := tlog.TileHashReader(tree, reader{folder})
	for _, record := range proofs.Records {
		what := fmt.Sprintf("record %d", record.Index)
		path := tlog.RecordProof(hashes(record.Path))
		leaf := tlog.RecordHash(record.Leaf)
		fail(what, tlog.CheckRecord(path, tree.N, tree.Hash, record.Index, leaf))
		made, err := tlog.ProveRecord(tree.N, record.Index, tiles)
		fail(what+" from tiles", err)
		if !same(made, path) {
			fail(what, fmt.Errorf("its tiles prove it otherwise"))
		}
	}
	for _, old := range proofs.Trees {
		what := fmt.Sprintf("tree %d", old.Size)
		path := tlog.TreeProof(hashes(old.Path))
		fail(what, tlog.CheckTree(path, tree.N, tree.Hash, old.Size, hash(old.Root)))
		made, err := tlog.ProveTree(tree.N, old.Size, tiles)
		fail(what+" from tiles", err)
		if !same(made, path) {
			fail(what, fmt.Errorf("its tiles prove it otherwise"))
		}
	}
	fmt.Printf("%d records and %d trees of a log of %d\n", len(proofs.Records), len(proofs.Trees), tree.N)
}
