// Command fetch asks a URL by net/http, several times, each time as for the first time.
//
//	fetch URL COUNT
//
// It prints `took MICROSECONDS` per try, then what came of the last one: its text, or the error and an end with 1.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"
)

func ask(url string) (string, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	response, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

func main() {
	count, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	var text string
	for i := 0; i < count; i++ {
		begun := time.Now()
		text, err = ask(os.Args[1])
		fmt.Println("took", time.Since(begun).Microseconds())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Print(text)
}
