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
func (c *client) download(ctx context.Context, uid string, file *graft.ResultFile, folder string) error {
	path, err := filepath.Localize(file.GetPath())
	if err != nil {
		return errors.New("lies outside of the result")
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
	digest := sha256.New()
	into := io.MultiWriter(partial, digest)
	var length int64
	if file.GetUrl() == "" {
		length, err = c.readFile(ctx, uid, file.GetPath(), into)
	} else {
		length, err = readURL(ctx, file.GetUrl(), into)
	}
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

func readURL(ctx context.Context, url string, into io.Writer) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the store answered %s", response.Status)
	}
	return io.Copy(into, response.Body)
}
