package caddymodule

import "strconv"

// The options that bound something say for whom: in all, for one owner, for one
// address or for one connection.

func (p *parser) parseQuota() error {
	if err := p.oneSize(&p.h.QuotaPerOwner); err != nil {
		return err
	}
	return p.perOwner("quota <size>")
}

func (p *parser) parseMaxUploads() error {
	if err := p.count(&p.h.MaxUploadsPerOwner); err != nil {
		return err
	}
	return p.perOwner("max_uploads <number>")
}

// perOwner reads for whom a bound is that only an owner can have.
func (p *parser) perOwner(usage string) error {
	if !p.NextArg() || p.Val() != "per_owner" {
		return p.Errf("%s says for whom: %s per_owner", p.name, usage)
	}
	return p.end()
}

func (p *parser) parseBandwidth() error {
	rate, whose := int64(0), ""
	if err := p.oneSize(&rate); err != nil {
		return err
	}
	if p.NextArg() {
		whose = p.Val()
	}
	if p.h.Bandwidth == nil {
		p.h.Bandwidth = new(Bandwidth)
	}
	to := map[string]*int64{
		"per_connection": &p.h.Bandwidth.PerConnection, "per_owner": &p.h.Bandwidth.PerOwner, "total": &p.h.Bandwidth.Total,
	}[whose]
	switch {
	case to == nil:
		return p.Err("bandwidth says for whom: bandwidth <size> per_connection|per_owner|total")
	case *to != 0:
		return p.Errf("bandwidth %s stands twice", whose)
	}
	*to = rate
	return p.end()
}

func (p *parser) parseMaxConnections() error {
	n := 0
	if err := p.count(&n); err != nil {
		return err
	}
	to := &p.h.MaxConnections
	if p.NextArg() {
		switch p.Val() {
		case "per_owner":
			to = &p.h.MaxConnectionsPerOwner
		case "per_address":
			to = &p.h.MaxConnectionsPerAddress
		default:
			return p.Errf("max_connections %d %s, expected nothing more, per_owner or per_address", n, p.Val())
		}
	}
	if *to != 0 {
		return p.Err("max_connections stands twice for the same")
	}
	*to = n
	return p.end()
}

func (p *parser) parseMaxLifetime() error {
	if err := p.duration(&p.h.MaxLifetime); err != nil {
		return err
	}
	return p.end()
}

// count reads the next argument, a number.
func (p *parser) count(to *int) error {
	if !p.NextArg() {
		return p.Errf("%s needs a number", p.name)
	}
	n, err := strconv.Atoi(p.Val())
	if err != nil || n < 1 {
		return p.Errf("%s %s, expected a number, 1 or more", p.name, p.Val())
	}
	*to = n
	return nil
}
