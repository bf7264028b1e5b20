package main

import (
	"sync"
)

// round is every case, played against one client.
type round struct {
	plays  []*play
	levels map[string]Level

	mu  sync.Mutex
	ids map[string]*play // under which case an id was used first
}

func newRound(cases []*Case) *round {
	r := &round{ids: map[string]*play{}, levels: map[string]Level{}}
	for _, c := range Cases() {
		r.levels[c.Name] = c.Level
	}
	for _, c := range cases {
		r.plays = append(r.plays, newPlay(r, c))
	}
	return r
}

func (r *round) play(name string) *play {
	for _, p := range r.plays {
		if p.c.Name == name {
			return p
		}
	}
	return nil
}

func (r *round) level(rule string) Level {
	level, ok := r.levels[rule]
	if !ok {
		panic("no case is called " + rule)
	}
	return level
}

// claim notes who uses an id, and returns who was the first to.
func (r *round) claim(id string, p *play) *play {
	r.mu.Lock()
	defer r.mu.Unlock()
	if first := r.ids[id]; first != nil {
		return first
	}
	r.ids[id] = p
	return p
}

// results returns what came of each case, as far as it has come to its end.
func (r *round) results() (all []result) {
	r.pool()
	for _, p := range r.plays {
		p.mu.Lock()
		if !p.judged {
			p.skip("no verdict was given")
		}
		all = append(all, p.result())
		p.mu.Unlock()
	}
	return all
}
