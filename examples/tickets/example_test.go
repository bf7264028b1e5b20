package tickets_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/wsingest/wsingest/middleware/ticket"
)

// grant answers a page that is about to upload a picture with a ticket for it.
func grant(key []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user, _, ok := r.BasicAuth() // however the app knows its users
		if !ok {
			http.Error(w, "log in first", http.StatusUnauthorized)
			return
		}
		t, err := ticket.Mint(key, ticket.Claims{
			Expires: time.Now().Add(time.Hour),
			ID:      r.FormValue("id"), // of the upload: the ticket is good for this one only
			Owner:   user,
			Route:   "/upload/",
			Type:    "image/*",
			MaxSize: 50 << 20,
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		json.NewEncoder(w).Encode(t)
	}
}

func Example() {
	http.Handle("POST /ticket", grant([]byte("from the environment, and at least 32 bytes")))
	fmt.Println("see README.md")
	// Output: see README.md
}
