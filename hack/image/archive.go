// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// writeLayout writes one index for all platforms, with the annotations from which
// containerd, Podman, Skopeo and Docker take the name.
func writeLayout(dir string, tag name.Tag, images []v1.Image, platforms []v1.Platform, labels map[string]string) error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for i, image := range images {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &platforms[i]}})
	}
	index = mutate.Annotations(index, labels).(v1.ImageIndex)

	written, err := layout.Write(dir, mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
	if err != nil {
		return err
	}
	// docker.io is the common name of Docker Hub, except in the registry's own API.
	full := strings.Replace(tag.Name(), name.DefaultRegistry+"/", "docker.io/", 1)
	if err := written.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"io.containerd.image.name":          full,
		"org.opencontainers.image.ref.name": tag.TagStr(),
	})); err != nil {
		return err
	}
	if len(images) > 1 {
		return nil
	}
	return writeDockerManifest(dir, tag, images[0])
}

// writeDockerManifest adds the manifest that docker load reads if Docker does not keep
// images in containerd. It does not support platforms, so only single-platform archives
// have it.
func writeDockerManifest(dir string, tag name.Tag, image v1.Image) error {
	manifest, err := image.Manifest()
	if err != nil {
		return err
	}
	blob := func(d v1.Descriptor) string { return "blobs/" + d.Digest.Algorithm + "/" + d.Digest.Hex }
	entry := struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{Config: blob(manifest.Config), RepoTags: []string{tag.String()}}
	for _, layer := range manifest.Layers {
		entry.Layers = append(entry.Layers, blob(layer))
	}
	text, err := json.Marshal([]any{entry})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "manifest.json"), text, 0o600)
}

// archive packs a directory, sorted by name. The file only gets its name when it is
// complete.
func archive(dir, output string) error {
	var files []file
	if err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		relative, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f := file{path: filepath.ToSlash(relative), mode: 0o644}
		if entry.IsDir() {
			f.path, f.mode = f.path+"/", 0o755
		} else if f.content, err = os.ReadFile(path); err != nil {
			return err
		}
		files = append(files, f)
		return nil
	}); err != nil {
		return err
	}
	packed, err := pack(files)
	if err != nil {
		return err
	}
	partial := output + ".partial"
	if err := os.WriteFile(partial, packed, 0o644); err != nil { //nolint:gosec // others may read it
		return errors.Join(err, os.Remove(partial))
	}
	return os.Rename(partial, output)
}

// pack packs files in their order.
func pack(files []file) ([]byte, error) {
	var packed bytes.Buffer
	out := tar.NewWriter(&packed)
	for _, f := range files {
		header := &tar.Header{Name: f.path, Mode: f.mode, Size: int64(len(f.content)), ModTime: epoch, Format: tar.FormatPAX}
		header.Typeflag = tar.TypeReg
		switch {
		case f.link != "":
			header.Typeflag, header.Linkname = tar.TypeSymlink, f.link
		case f.content == nil:
			header.Typeflag = tar.TypeDir
		}
		if err := out.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := out.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := out.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}
