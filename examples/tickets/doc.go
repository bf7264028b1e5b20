// Package tickets shows how an app mints upload tickets, in three languages.
package tickets
