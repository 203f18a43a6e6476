// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ulikunitz/xz"
)

// archiveURL is where Debian's packages are downloaded from. Their sums are in packages.txt.
const archiveURL = "https://deb.debian.org/"

// packages is written by packages.sh.
//
//go:embed packages.txt
var packages string

// debianFiles returns the files of Debian's packages for an architecture, in the order in
// which they are unpacked.
func debianFiles(ctx context.Context, architecture string) ([]file, error) {
	var all []file
	known := map[string]bool{}
	for line := range strings.Lines(packages) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != architecture {
			continue
		}
		deb, err := download(ctx, fields[2], fields[1])
		if err != nil {
			return nil, fmt.Errorf("%s%s: %w; hack/image/packages.sh finds the present packages", archiveURL, fields[2], err)
		}
		files, err := unpackDeb(deb)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", fields[2], err)
		}
		for _, f := range files {
			if !known[f.path] { // directories are in many packages
				known[f.path] = true
				all = append(all, f)
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("packages.txt has no packages for %s", architecture)
	}
	return all, nil
}

// download returns a file of Debian's archive, which it keeps in the user's cache.
func download(ctx context.Context, name, sum string) ([]byte, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	cached := filepath.Join(cache, "dli-operator", "debian", sum)
	if content, err := os.ReadFile(cached); err == nil && sumOf(content) == sum {
		return content, nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, archiveURL+name, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode != http.StatusOK:
		return nil, errors.New(response.Status)
	case sumOf(content) != sum:
		return nil, fmt.Errorf("its SHA-256 is %s, want %s", sumOf(content), sum)
	}
	if err := os.MkdirAll(filepath.Dir(cached), 0o700); err != nil {
		return nil, err
	}
	return content, os.WriteFile(cached, content, 0o600)
}

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// unpackDeb returns the files of a package but its documentation: of that only the
// licence is kept. A package is an ar archive, with the files in a compressed tar.
func unpackDeb(deb []byte) ([]file, error) {
	const magic, headerSize = "!<arch>\n", 60
	rest, ok := bytes.CutPrefix(deb, []byte(magic))
	for ok && len(rest) >= headerSize {
		name := strings.TrimSpace(string(rest[:16]))
		size, err := strconv.Atoi(strings.TrimSpace(string(rest[48:58])))
		rest = rest[headerSize:]
		if err != nil || size < 0 || size > len(rest) {
			break
		}
		if name == "data.tar.xz" {
			unpacked, err := xz.NewReader(bytes.NewReader(rest[:size]))
			if err != nil {
				return nil, err
			}
			return untar(unpacked)
		}
		rest = rest[min(size+size%2, len(rest)):]
	}
	return nil, errors.New("it has no data.tar.xz")
}

func untar(packed io.Reader) ([]file, error) {
	var files []file
	in := tar.NewReader(packed)
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		f := file{path: strings.TrimPrefix(header.Name, "./"), mode: header.Mode &^ 0o7000}
		if f.path == "" || isDocumentation(f.path) {
			continue
		}
		switch header.Typeflag {
		case tar.TypeDir:
		case tar.TypeSymlink:
			f.link = header.Linkname
		case tar.TypeReg:
			if f.content, err = io.ReadAll(in); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("%s is of type %q", header.Name, header.Typeflag)
		}
		files = append(files, f)
	}
}

// isDocumentation reports whether nobody needs a file in a container.
func isDocumentation(name string) bool {
	rest, ok := strings.CutPrefix(name, "usr/share/")
	if !ok {
		return false
	}
	directory, _, _ := strings.Cut(rest, "/")
	switch directory {
	case "doc":
		return !strings.HasSuffix(name, "/") && path.Base(name) != "copyright"
	case "bug", "doc-base", "gcc", "gdb", "info", "lintian", "locale", "man", "menu":
		return true
	}
	return false
}
