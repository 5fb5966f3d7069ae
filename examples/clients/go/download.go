package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	graft "example.org/graft-client/gen/graft/v1"
)

// A file of a result, on a slow line.
const downloadTimeout = 10 * time.Minute

// download writes the file under folder: the whole of it, with the length and digest that the server named, or nothing.
func download(ctx context.Context, file *graft.ResultFile, folder string) error {
	path, err := filepath.Localize(file.GetPath())
	if err != nil {
		return errors.New("lies outside of the result")
	}
	if file.GetUrl() == "" {
		return errors.New("has no url; this server's store gives none, copy the result from its location")
	}
	target := filepath.Join(folder, path)
	if err := os.MkdirAll(filepath.Dir(target), 0o777); err != nil {
		return err
	}
	partial, err := os.CreateTemp(filepath.Dir(target), ".partial-*")
	if err != nil {
		return err
	}
	defer os.Remove(partial.Name()) // in vain once it is renamed
	defer partial.Close()

	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, file.GetUrl(), nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the store answered %s", response.Status)
	}
	digest := sha256.New()
	length, err := io.Copy(io.MultiWriter(partial, digest), response.Body)
	if err != nil {
		return err
	}
	if sum := hex.EncodeToString(digest.Sum(nil)); length != file.GetBytes() || sum != file.GetSha256() {
		return fmt.Errorf("expected %d bytes with SHA-256 %s, got %d with %s", file.GetBytes(), file.GetSha256(), length, sum)
	}
	if err := partial.Close(); err != nil {
		return err
	}
	return os.Rename(partial.Name(), target)
}
