package tickets_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/wsingest/wsingest/middleware/ticket"
)

const vectorsFile = "../../middleware/ticket/testdata/vectors.json"

// TestOtherLanguagesMintTheSameTickets, to the last bit.
func TestOtherLanguagesMintTheSameTickets(t *testing.T) {
	var vectors struct {
		Tickets []struct{ Ticket string }
	}
	p, err := os.ReadFile(vectorsFile)
	if err == nil {
		err = json.Unmarshal(p, &vectors)
	}
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, v := range vectors.Tickets {
		want = append(want, v.Ticket)
	}
	python := os.Getenv("WSINGEST_PYTHON")
	if python == "" {
		python = "/usr/bin/python3"
	}
	const key = "the key of this test, which is long enough"
	verifier, err := ticket.NewVerifier([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	for name, cmd := range map[string]*exec.Cmd{
		"Python":     exec.Command(python, "testdata/vectors.py", vectorsFile, key),
		"JavaScript": exec.Command("node", "testdata/vectors.mjs", vectorsFile, key),
	} {
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := strings.Fields(string(out))
		if len(got) != len(want)+1 || len(want) == 0 || !slices.Equal(got[:len(want)], want) {
			t.Errorf("%s minted\n%s\nexpected\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
			continue
		}
		if c, err := verifier.Verify(got[len(want)]); err != nil || c.Owner != "ada" || c.MaxSize != 10 {
			t.Errorf("%s: its own ticket is %+v, %v", name, c, err)
		}
	}
}

func TestTheHandlerGrantsWhoIsLoggedIn(t *testing.T) {
	const id = "i33JX2ph4euRLgmtoMAObQ"
	key := []byte("the key of this test, which is long enough")
	ask := func(user, id string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/ticket?id="+id, nil)
		if user != "" {
			r.SetBasicAuth(user, "")
		}
		w := httptest.NewRecorder()
		grant(key)(w, r)
		return w
	}
	var s string
	if err := json.Unmarshal(ask("ada", id).Body.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	v, err := ticket.NewVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := v.Verify(s); err != nil || c.Owner != "ada" || c.ID != id {
		t.Errorf("granted %+v, %v", c, err)
	}
	if w := ask("", id); w.Code != http.StatusUnauthorized {
		t.Errorf("nobody is told %d", w.Code)
	}
	if w := ask("ada", "../x"); w.Code != http.StatusBadRequest {
		t.Errorf("for an id that is none: %d", w.Code)
	}
}

// TestReadmeShowsTheCode: what README.md shows is what runs here.
func TestReadmeShowsTheCode(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"mint.py", "mint.mjs", "example_test.go"} {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := string(code)
		if _, from, ok := strings.Cut(text, "// grant answers"); ok {
			text, _, _ = strings.Cut("// grant answers"+from, "\nfunc Example")
		}
		if !strings.Contains(string(readme), strings.TrimSpace(text)) {
			t.Errorf("README.md does not show %s as it is", file)
		}
	}
}
