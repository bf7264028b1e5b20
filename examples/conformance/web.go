package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// watched is how long a client that goes on living, such as a page, is watched
// after its verdict in the cases about what it must not try again.
const watched = 1500 * time.Millisecond

// server serves the cases over HTTP: README.md says how.
type server struct {
	mu     sync.Mutex
	rounds []*round
	told   func(result) // of each case that ends; may be nil
}

// listed is a case, for a client that is to be tried on it.
type listed struct {
	Name    string `json:"name"`
	Must    string `json:"must"`
	Upload  string `json:"upload"`  // URL to upload to
	Content string `json:"content"` // URL of the file to upload
	Verdict string `json:"verdict"` // URL to say the outcome to
	Length  int    `json:"length"`  // of the file, in bytes
	Stream  bool   `json:"stream"`  // the client is not to be told the length
	Ticket  string `json:"ticket"`  // to be in every open
}

// add begins a round and returns its number, from 1.
func (s *server) add(r *round) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rounds = append(s.rounds, r)
	return len(s.rounds)
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "POST http://%s/runs lists the cases of wsingest.v1, each with where to upload to,\nand where to say what came of it. See README.md beside the program.\n", r.Host)
	})
	mux.HandleFunc("POST /runs", s.begin)
	mux.HandleFunc("GET /runs/{run}", s.report)
	mux.HandleFunc("/runs/{run}/{case}/upload", s.of(func(p *play, w http.ResponseWriter, r *http.Request) { p.serve(w, r) }))
	mux.HandleFunc("GET /runs/{run}/{case}/content", s.of(func(p *play, w http.ResponseWriter, r *http.Request) { w.Write(p.file) }))
	mux.HandleFunc("POST /runs/{run}/{case}/verdict", s.of(s.verdict))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A page from anywhere may be tried.
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Headers", "Content-Type")
		if r.Method == http.MethodOptions {
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// begin answers POST /runs.
func (s *server) begin(w http.ResponseWriter, r *http.Request) {
	cases, err := matching(r.FormValue("cases"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	round := newRound(cases)
	answer := struct {
		Report string   `json:"report"` // URL of what came of all
		Cases  []listed `json:"cases"`
	}{}
	answer.Report = fmt.Sprintf("http://%s/runs/%d", r.Host, s.add(round))
	for _, p := range round.plays {
		at := answer.Report + "/" + p.c.Name
		answer.Cases = append(answer.Cases, listed{
			Name: p.c.Name, Must: p.c.Must, Length: p.c.size, Stream: p.c.stream,
			Upload: "ws" + at[len("http"):] + "/upload", Content: at + "/content", Verdict: at + "/verdict", Ticket: given,
		})
	}
	w.WriteHeader(http.StatusCreated)
	json.NewEncoder(w).Encode(answer)
}

// matching returns the cases whose names match an expression.
func matching(expression string) (cases []*Case, err error) {
	re, err := regexp.Compile(expression)
	if err != nil {
		return nil, err
	}
	for _, c := range Cases() {
		if re.MatchString(c.Name) {
			cases = append(cases, c)
		}
	}
	if len(cases) == 0 {
		return nil, fmt.Errorf("no case matches %q", expression)
	}
	return cases, nil
}

func (s *server) round(r *http.Request) *round {
	n, err := strconv.Atoi(r.PathValue("run"))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || n < 1 || n > len(s.rounds) {
		return nil
	}
	return s.rounds[n-1]
}

// of finds the case in the address.
func (s *server) of(handle func(*play, http.ResponseWriter, *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if round := s.round(r); round != nil {
			if p := round.play(r.PathValue("case")); p != nil {
				handle(p, w, r)
				return
			}
		}
		http.NotFound(w, r)
	}
}

func (s *server) verdict(p *play, w http.ResponseWriter, r *http.Request) {
	var v verdict
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(body, &v)
	}
	if err == nil && v.Outcome != Success && v.Outcome != Failure && v.Outcome != Skipped {
		err = fmt.Errorf("outcome %q, expected success, failure or skipped", v.Outcome)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	second := p.verdict != nil
	if second {
		p.wrong("it came to an end twice: %s (%s), then %s (%s)", p.verdict.Outcome, p.verdict.Said, v.Outcome, v.Said)
	} else {
		p.verdict = &v
	}
	p.mu.Unlock()
	if second {
		http.Error(w, "there was a verdict before", http.StatusConflict)
		return
	}
	linger := time.Duration(0)
	if p.c.lingers && v.Outcome != Skipped {
		linger = watched
	}
	res := p.judge(linger)
	if s.told != nil {
		s.told(res)
	}
	json.NewEncoder(w).Encode(res)
}

// report answers GET /runs/{run}.
func (s *server) report(w http.ResponseWriter, r *http.Request) {
	round := s.round(r)
	if round == nil {
		http.NotFound(w, r)
		return
	}
	json.NewEncoder(w).Encode(struct {
		Cases []result `json:"cases"`
	}{round.results()})
}
