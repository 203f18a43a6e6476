// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Command image writes the operator's image as an OCI archive: the manager, statically
// linked for each platform, certificate authorities, and an unprivileged user. It needs
// no daemon, works offline once the modules are downloaded, and gives the same bytes for
// the same sources, version and Go version. With -pipelines it writes the image for
// pipelines in the same way, with packages of Debian, which it downloads once.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

type options struct {
	root      string // of the operator's sources
	image     string
	version   string
	revision  string
	platforms string
	binaries  string
	files     string
	output    string
	pipelines bool
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", "../..", "Directory of the operator's sources.")
	flag.StringVar(&o.image, "image", "", "Name and tag of the image.")
	flag.StringVar(&o.version, "version", "dev", "Version that the manager reports.")
	flag.StringVar(&o.revision, "revision", "", "Commit of the sources.")
	flag.StringVar(&o.platforms, "platforms", "linux/amd64,linux/arm64", "Comma-separated platforms.")
	flag.StringVar(&o.binaries, "binaries", "", "Directory to which to copy the managers, as manager-OS-ARCH; none if empty.")
	flag.StringVar(&o.files, "files", "", "Directory to write the files of the image for a single platform to, instead of an archive; for the Dockerfile.")
	flag.StringVar(&o.output, "output", "", "Archive to write.")
	flag.BoolVar(&o.pipelines, "pipelines", false, "Write the image for pipelines instead: kubectl, curl, jq, openssl and submit-to-dli.sh.")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if o.output == "" && o.files == "" {
		return errors.New("-output is not set")
	}
	platforms, err := parsePlatforms(o.platforms)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	o.binaries = cmp.Or(o.binaries, scratch)
	if o.files != "" {
		return writeFiles(ctx, o, platforms)
	}
	tag, err := parseTag(o.image)
	if err != nil {
		return err
	}
	of := operatorImage
	if o.pipelines {
		of = pipelinesImage
	}
	var labels map[string]string
	images := make([]v1.Image, len(platforms))
	for i, platform := range platforms {
		layers, config, err := of(ctx, o, platform)
		if err == nil {
			images[i], err = newImage(layers, config, platform)
		}
		if err != nil {
			return fmt.Errorf("image for %s: %w", platform, err)
		}
		labels = config.Labels
	}
	layoutDir := filepath.Join(scratch, "layout")
	if err := writeLayout(layoutDir, tag, images, platforms, labels); err != nil {
		return err
	}
	return archive(layoutDir, o.output)
}

// writeFiles writes the files of the image for a single platform.
func writeFiles(ctx context.Context, o options, platforms []v1.Platform) error {
	if len(platforms) != 1 {
		return fmt.Errorf("-files: the platforms are %s, want a single one", o.platforms)
	}
	layers, _, err := operatorImage(ctx, o, platforms[0])
	if err != nil {
		return err
	}
	for _, layer := range layers {
		for _, f := range layer.files {
			if err := f.write(o.files); err != nil {
				return err
			}
		}
	}
	return nil
}

// parseTag requires a tag: without one it would be latest, which does not identify an
// image and makes Kubernetes pull it every time.
func parseTag(image string) (name.Tag, error) {
	tag, err := name.NewTag(image)
	if err != nil {
		return name.Tag{}, fmt.Errorf("-image=%s: %w", image, err)
	}
	if tag.TagStr() == name.DefaultTag {
		return name.Tag{}, fmt.Errorf("-image=%s: name a tag other than %s", image, name.DefaultTag)
	}
	return tag, nil
}

func parsePlatforms(list string) ([]v1.Platform, error) {
	var platforms []v1.Platform
	for text := range strings.SplitSeq(list, ",") {
		platform, err := v1.ParsePlatform(text)
		if err != nil {
			return nil, fmt.Errorf("-platforms=%s: %w", list, err)
		}
		if platform.OS == "" || platform.Architecture == "" || platform.Variant != "" {
			return nil, fmt.Errorf("-platforms=%s: %q is not OS/ARCH", list, text)
		}
		platforms = append(platforms, *platform)
	}
	return platforms, nil
}
