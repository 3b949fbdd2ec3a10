// Judges checkpoints, proofs and tiles with the packages of the Go checksum database itself.
//
//	audit cases FILE        a list of true and false, one for each case
//	audit tiles DIR KEY     proves every entry of a C2SP tlog-tiles folder, and every older tree
//
// Built from the packages of Debian: GO111MODULE=off GOPATH=/usr/share/gocode go build.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type question struct {
	Kind    string   `json:"kind"`
	Leaf    string   `json:"leaf"`
	Index   int64    `json:"index"`
	Size    int64    `json:"size"`
	Root    string   `json:"root"`
	Old     int64    `json:"old"`
	OldRoot string   `json:"oldRoot"`
	Proof   []string `json:"proof"`
	Note    string   `json:"note"`
	Keys    []string `json:"keys"`
}

func hash(text string) (tlog.Hash, error) {
	return tlog.ParseHash(text)
}

func hashes(texts []string) ([]tlog.Hash, error) {
	var all []tlog.Hash
	for _, text := range texts {
		one, err := hash(text)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// open reads a signed note; its text is that of a tree, but for the first line, which names the log.
func open(text string, keys []string) (tlog.Tree, error) {
	var verifiers []note.Verifier
	for _, key := range keys {
		verifier, err := note.NewVerifier(key)
		if err != nil {
			return tlog.Tree{}, err
		}
		verifiers = append(verifiers, verifier)
	}
	opened, err := note.Open([]byte(text), note.VerifierList(verifiers...))
	if err != nil {
		return tlog.Tree{}, err
	}
	_, rest, found := strings.Cut(opened.Text, "\n")
	if !found {
		return tlog.Tree{}, errors.New("no lines")
	}
	return tlog.ParseTree([]byte("go.sum database tree\n" + rest))
}

func judge(q question) error {
	if q.Kind == "note" {
		_, err := open(q.Note, q.Keys)
		return err
	}
	proof, err := hashes(q.Proof)
	if err != nil {
		return err
	}
	root, err := hash(q.Root)
	if err != nil {
		return err
	}
	switch q.Kind {
	case "inclusion":
		leaf, err := hash(q.Leaf)
		if err != nil {
			return err
		}
		return tlog.CheckRecord(proof, q.Size, root, q.Index, leaf)
	case "consistency":
		old, err := hash(q.OldRoot)
		if err != nil {
			return err
		}
		return tlog.CheckTree(proof, q.Size, root, q.Old, old)
	}
	return fmt.Errorf("unknown kind %s", q.Kind)
}

func cases(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var questions []question
	if err := json.Unmarshal(data, &questions); err != nil {
		return err
	}
	verdicts := make([]bool, len(questions))
	for i, q := range questions {
		verdicts[i] = judge(q) == nil
	}
	return json.NewEncoder(os.Stdout).Encode(verdicts)
}

// folder reads tiles where C2SP tlog-tiles has them: without the height in their path.
type folder struct {
	path string
	tree tlog.Tree
}

func (f folder) Height() int                     { return 8 }
func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := os.ReadFile(filepath.Join(f.path, strings.Replace(tile.Path(), "tile/8/", "tile/", 1)))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// entries reads every entry of the bundles.
func (f folder) entries() ([][]byte, error) {
	var all [][]byte
	for n := int64(0); n*256 < f.tree.N; n++ {
		width := f.tree.N - n*256
		if width > 256 {
			width = 256
		}
		path := tlog.Tile{H: 8, L: -1, N: n, W: int(width)}.Path()
		data, err := os.ReadFile(filepath.Join(f.path, strings.Replace(path, "tile/8/data/", "tile/entries/", 1)))
		if err != nil {
			return nil, err
		}
		for i := int64(0); i < width; i++ {
			if len(data) < 2 {
				return nil, fmt.Errorf("%s is cut off", path)
			}
			length := int(binary.BigEndian.Uint16(data))
			if len(data) < 2+length {
				return nil, fmt.Errorf("%s is cut off", path)
			}
			all = append(all, data[2:2+length])
			data = data[2+length:]
		}
	}
	return all, nil
}

func tiles(path, key string) error {
	text, err := os.ReadFile(filepath.Join(path, "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := open(string(text), []string{key})
	if err != nil {
		return err
	}
	f := folder{path, tree}
	all, err := f.entries()
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tree, f)
	// All hashes that the packages store for so many records, made from the entries alone.
	var stored []tlog.Hash
	own := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var found []tlog.Hash
		for _, index := range indexes {
			found = append(found, stored[index])
		}
		return found, nil
	})
	for n, entry := range all {
		proof, err := tlog.ProveRecord(tree.N, int64(n), reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, int64(n), tlog.RecordHash(entry)); err != nil {
			return fmt.Errorf("entry %d: %v", n+1, err)
		}
		more, err := tlog.StoredHashes(int64(n), entry, own)
		if err != nil {
			return err
		}
		stored = append(stored, more...)
		root, err := tlog.TreeHash(int64(n)+1, own)
		if err != nil {
			return err
		}
		since, err := tlog.ProveTree(tree.N, int64(n)+1, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(since, tree.N, tree.Hash, int64(n)+1, root); err != nil {
			return fmt.Errorf("the tree of %d: %v", n+1, err)
		}
	}
	fmt.Printf("%d %s\n", tree.N, base64.StdEncoding.EncodeToString(tree.Hash[:]))
	return nil
}

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "cases":
		err = cases(os.Args[2])
	case len(os.Args) == 4 && os.Args[1] == "tiles":
		err = tiles(os.Args[2], os.Args[3])
	default:
		err = errors.New("usage: audit cases FILE | audit tiles DIR KEY")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
