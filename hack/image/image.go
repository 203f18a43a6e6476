// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	source = "https://github.com/dli-operator/dli-operator"
	// user is the same as in distroless images. It is numeric because Kubernetes cannot
	// check whether a name is root.
	user = "65532:65532"

	passwd = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
	group  = "root:x:0:\nnonroot:x:65532:\n"
)

// epoch is the creation time of everything: the actual time would change with each
// build.
var epoch = time.Unix(0, 0).UTC()

func labelsOf(title, description, version, revision string) map[string]string {
	labels := map[string]string{
		"org.opencontainers.image.title":       title,
		"org.opencontainers.image.description": description,
		"org.opencontainers.image.source":      source,
		"org.opencontainers.image.version":     version,
	}
	if revision != "" {
		labels["org.opencontainers.image.revision"] = revision
	}
	return labels
}

// file is an entry of a layer, a directory if its path ends in a slash. All are owned by
// root, so that the manager cannot change itself.
type file struct {
	path    string
	mode    int64
	content []byte
	link    string // of a symbolic link
}

// write writes the file below a directory.
func (f file) write(dir string) error {
	path := filepath.Join(dir, f.path)
	if f.content == nil {
		return os.MkdirAll(path, fs.FileMode(f.mode))
	}
	return os.WriteFile(path, f.content, fs.FileMode(f.mode))
}

type layer struct {
	comment string
	files   []file
}

// baseLayer is in both images.
func baseLayer() (layer, error) {
	authorities, err := certificates()
	if err != nil {
		return layer{}, err
	}
	return layer{"certificate authorities and users", []file{
		{path: "etc/", mode: 0o755},
		{path: "etc/group", mode: 0o644, content: []byte(group)},
		{path: "etc/passwd", mode: 0o644, content: []byte(passwd)},
		{path: "etc/ssl/", mode: 0o755},
		{path: "etc/ssl/certs/", mode: 0o755},
		{path: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, content: authorities},
	}}, nil
}

// operatorImage builds the manager for a platform, and returns what is in its image.
func operatorImage(ctx context.Context, o options, platform v1.Platform) ([]layer, v1.Config, error) {
	manager := filepath.Join(o.binaries, "manager-"+platform.OS+"-"+platform.Architecture)
	if err := buildManager(ctx, o.root, manager, o.version, platform); err != nil {
		return nil, v1.Config{}, err
	}
	labels := labelsOf("dli-operator", "Watches SQL jobs in Huawei Cloud Data Lake Insight as DLIJob resources.", o.version, o.revision)
	labels["org.opencontainers.image.licenses"] = "Apache-2.0"
	binary, err := os.ReadFile(manager)
	if err != nil {
		return nil, v1.Config{}, err
	}
	base, err := baseLayer()
	layers := []layer{base, {"the manager", []file{{path: "manager", mode: 0o755, content: binary}}}} // what rarely changes comes first
	return layers, v1.Config{User: user, Entrypoint: []string{"/manager"}, WorkingDir: "/", Labels: labels}, err
}

func newImage(layers []layer, config v1.Config, platform v1.Platform) (v1.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.ConfigFile(image, &v1.ConfigFile{
		Architecture: platform.Architecture,
		OS:           platform.OS,
		Created:      v1.Time{Time: epoch},
		Config:       config,
		RootFS:       v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, err
	}
	for _, layer := range layers {
		packed, err := newLayer(layer.files)
		if err != nil {
			return nil, err
		}
		image, err = mutate.Append(image, mutate.Addendum{
			Layer:   packed,
			History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "hack/image", Comment: layer.comment},
		})
		if err != nil {
			return nil, err
		}
	}
	return image, nil
}

func newLayer(files []file) (v1.Layer, error) {
	packed, err := pack(files)
	if err != nil {
		return nil, err
	}
	opener := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed)), nil }
	return tarball.LayerFromOpener(opener, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}
