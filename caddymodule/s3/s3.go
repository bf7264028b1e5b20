// Package s3 is the guest module http.ws_ingest.stores.s3: uploads in a bucket,
// which any of several Caddys can go on with. It is a package of its own, so
// that who keeps uploads on a disk does not link it:
//
//	xcaddy build --with github.com/wsingest/wsingest/caddymodule/s3
package s3

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/wsingest/wsingest/caddymodule"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/s3store"
)

func init() { caddy.RegisterModule(new(Store)) }

// Store keeps uploads in a bucket of S3 or of a store that speaks its protocol.
// Caddys with the same bucket and prefix share their uploads: a client may come
// back to any of them.
type Store struct {
	// Where the storage is: a URL with the scheme https or http and nothing but a
	// host, such as https://s3.example.com.
	Endpoint string `json:"endpoint,omitempty"`

	// The bucket, which has to be there.
	Bucket string `json:"bucket,omitempty"`

	// What every key begins with, such as uploads/. Default: nothing.
	Prefix string `json:"prefix,omitempty"`

	// The region of the bucket. Default: us-east-1, which most stores ignore.
	Region string `json:"region,omitempty"`

	// Who signs the requests. Default: the variables AWS_ACCESS_KEY_ID and
	// AWS_SECRET_ACCESS_KEY, else the role of the machine.
	AccessKey string `json:"access_key,omitempty"`

	// The secret that goes with the access key. A placeholder of the environment
	// or of a file keeps it out of the config.
	SecretKey string `json:"secret_key,omitempty"`

	// The least size of a part, 5 MiB to 1 GiB. Default: 8 MiB.
	PartSize int64 `json:"part_size,omitempty"`

	// File data of all uploads on its way to the storage. Default: 256 MiB.
	Memory int64 `json:"memory,omitempty"`

	// How long a byte may wait for its part to fill, 10ms to 10m. Default: 2s.
	SyncInterval caddy.Duration `json:"sync_interval,omitempty"`

	// How long a request that fails is tried again, 1s or more. Default: 1m.
	RetryFor caddy.Duration `json:"retry_for,omitempty"`

	// How long after its last change an upload that was not finished is removed;
	// negative: never. Default: 24h.
	Expire caddy.Duration `json:"expire,omitempty"`

	// Take a storage that ignores conditions on writes. Then nothing keeps two
	// Caddys apart which hold the same upload.
	Weak bool `json:"weak,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Store) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.ws_ingest.stores.s3",
		New: func() caddy.Module { return new(Store) },
	}
}

// Provision fills in placeholders and looks at the endpoint.
func (s *Store) Provision(caddy.Context) error {
	repl := caddy.NewReplacer()
	for _, text := range []*string{&s.Endpoint, &s.Bucket, &s.Prefix, &s.Region, &s.AccessKey, &s.SecretKey} {
		*text = repl.ReplaceKnown(*text, "")
	}
	if s.Bucket == "" {
		return errors.New("ws_ingest: the store s3 has no bucket")
	}
	_, _, err := s.host()
	return err
}

// host takes the endpoint apart.
func (s *Store) host() (host string, insecure bool, err error) {
	u, err := url.Parse(s.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" {
		return "", false, fmt.Errorf("ws_ingest: the endpoint of the store s3 is %q, expected a URL such as https://s3.example.com", s.Endpoint)
	}
	return u.Host, u.Scheme == "http", nil
}

// StoreKey implements caddymodule.StoreModule.
func (s *Store) StoreKey() string { return "s3:" + s.Endpoint + "/" + s.Bucket + "/" + s.Prefix }

// OpenStore implements caddymodule.StoreModule.
func (s *Store) OpenStore(o caddymodule.StoreOptions) (resume.Store, error) {
	host, insecure, err := s.host()
	if err != nil {
		return nil, err
	}
	options := s3store.Options{
		Endpoint: host, Insecure: insecure, Bucket: s.Bucket, Prefix: s.Prefix, Region: s.Region,
		Logger: o.Logger, OnExpire: o.OnExpire, Weak: s.Weak,
		PartSize: s.PartSize, Memory: s.Memory, SyncInterval: time.Duration(s.SyncInterval),
		RetryFor: time.Duration(s.RetryFor), ExpireUnfinished: time.Duration(s.Expire),
	}
	if s.AccessKey != "" {
		options.Credentials = credentials.NewStaticV4(s.AccessKey, s.SecretKey, "")
	}
	return s3store.New(options)
}

// PublishesKeys implements caddymodule.KeyStore.
func (s *Store) PublishesKeys() {}

// UnmarshalCaddyfile reads
//
//	store s3 <bucket> {
//		endpoint      <url>
//		prefix        <prefix>
//		region        <region>
//		access_key    <key>
//		secret_key    <secret>
//		part_size     <size>
//		memory        <size>
//		sync_interval <duration>
//		retry_for     <duration>
//		expire        <duration>|never
//		weak
//	}
func (s *Store) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name
	if !d.AllArgs(&s.Bucket) {
		return d.Err("the store s3 takes the name of a bucket, such as: store s3 uploads")
	}
	texts := map[string]*string{
		"endpoint": &s.Endpoint, "prefix": &s.Prefix, "region": &s.Region, "access_key": &s.AccessKey, "secret_key": &s.SecretKey,
	}
	sizes := map[string]*int64{"part_size": &s.PartSize, "memory": &s.Memory}
	durations := map[string]*caddy.Duration{"sync_interval": &s.SyncInterval, "retry_for": &s.RetryFor, "expire": &s.Expire}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name, value := d.Val(), ""
		if name == "weak" {
			if d.NextArg() {
				return d.ArgErr()
			}
			s.Weak = true
			continue
		}
		if !d.AllArgs(&value) {
			return d.ArgErr()
		}
		switch {
		case texts[name] != nil:
			*texts[name] = value
		case sizes[name] != nil:
			n, err := humanize.ParseBytes(value)
			if err != nil || n == 0 || n > 1<<62 {
				return d.Errf("%s is %q, expected a size such as 8MiB", name, value)
			}
			*sizes[name] = int64(n)
		case name == "expire" && value == "never":
			s.Expire = caddy.Duration(s3store.Never)
		case durations[name] != nil:
			v, err := caddy.ParseDuration(value)
			if err != nil || v <= 0 {
				return d.Errf("%s is %q, expected a duration such as 2s", name, value)
			}
			*durations[name] = caddy.Duration(v)
		default:
			return d.Errf("the store s3 has no option %s", name)
		}
	}
	return nil
}

var (
	_ caddymodule.KeyStore  = (*Store)(nil)
	_ caddy.Provisioner     = (*Store)(nil)
	_ caddyfile.Unmarshaler = (*Store)(nil)
)
