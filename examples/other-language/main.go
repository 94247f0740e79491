// Command main is an AWS Lambda runtime with a function in it, written from the rules in spec/, whose ids it cites.
package main

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const typeField, documentField = "Lambda-Runtime-Function-Error-Type", "Lambda-Runtime-Function-Error-Body"

// What the function needs to start: the pause between two pieces of a stream.
var pause, pauseError = time.ParseDuration(cmp.Or(os.Getenv("PAUSE"), "200ms"))

// Each request has a connection of its own (RT-CONN-5), which no freeze (UN-14) and no early answer (RS-EARLY-4) spoils
// for the next one. There is no proxy (RT-CONN-1), and no time limit (RT-NEXT-2).
var transport = &http.Transport{DisableKeepAlives: true, DisableCompression: true}

// ask sends a request, and returns the status, fields and body of the answer. The status is 0 when there is none.
// net/http skips interim answers (RT-CONN-13), sends a body of unknown length as it comes, in chunks (RS-CHUNK), and
// closes the body when the answer comes early, so that the next write to it fails (RS-EARLY-3).
func ask(method, path string, fields, trailer http.Header, body io.Reader) (status int, head http.Header, text []byte) {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/" // RT-ENV-1, RT-PATH-1
	request, err := http.NewRequest(method, api+path, body)
	if err != nil {
		log.Fatal(err)
	}
	request.Header, request.Trailer = fields, trailer
	answer, err := transport.RoundTrip(request)
	if err == nil {
		defer answer.Body.Close()
		text, err = io.ReadAll(answer.Body)
	}
	if err != nil { // an answer that was cut is none, either (RT-CONN-18)
		answer = &http.Response{Status: err.Error()}
	}
	if answer.StatusCode/100 != 2 { // RT-RESP-11
		log.Printf("%s %s: %s %s", method, path, answer.Status, text)
	}
	return answer.StatusCode, answer.Header, text
}

// describe returns a document (ER-DOC-1) that fits trailers: of 400 characters, each takes six bytes (LI-TRAILER-2).
func describe(kind string, err error) string {
	message := fmt.Sprintf("%.400s", err.Error())
	document, _ := json.Marshal(map[string]any{"errorMessage": message, "errorType": kind, "stackTrace": []string{}})
	return string(document)
}

// fail reports an error where no response has begun (RT-ERR-1, RT-INIT-1).
func fail(path string, fields http.Header, kind string, err error) {
	fields.Set(typeField, kind) // ER-TYPE-1
	ask("POST", path, fields, nil, strings.NewReader(describe(kind, err)))
}

// run answers an invocation once (RT-RESP-1). The service has taken or refused it then (RT-RESP-12, RT-RESP-16).
func run(invocation http.Header, event []byte) {
	os.Unsetenv("_X_AMZN_TRACE_ID") // RT-ENV-2; one invocation at a time, in managed instances as well (RT-MANAGED-9)
	if trace := invocation.Get("Lambda-Runtime-Trace-Id"); trace != "" {
		os.Setenv("_X_AMZN_TRACE_ID", trace)
	}
	deadline := time.Now().Add(15 * time.Minute).UnixMilli() // stays when none can be read (RT-NEXT-16, LI-TIME-1)
	json.Unmarshal([]byte(invocation.Get("Lambda-Runtime-Deadline-Ms")), &deadline)
	id := url.PathEscape(invocation.Get("Lambda-Runtime-Aws-Request-Id"))           // escapes two characters too many
	path := "invocation/" + strings.NewReplacer("%2C", ",", "%3B", ";").Replace(id) // RT-PATH-5
	fields := http.Header{"Content-Type": {"application/json"}}                     // RT-RESP-3
	if attempt := invocation.Get("Lambda-Runtime-Invocation-Id"); attempt != "" {
		fields.Set("Lambda-Runtime-Invocation-Id", attempt) // RT-RESP-8, RT-RESP-9
	}
	trailer := http.Header{typeField: nil, documentField: nil} // RS-HEAD-3
	body, stream := io.Pipe()
	var answered chan struct{} // nil until a stream begins
	begin := func(prelude string) io.Writer {
		fields.Set("Content-Type", "application/vnd.awslambda.http-integration-response") // RS-PRELUDE-1
		fields.Set("Lambda-Runtime-Function-Response-Mode", "streaming")                  // RS-HEAD-1
		answered = make(chan struct{})
		go func() {
			ask("POST", path+"/response", fields, trailer, body) // in chunks, as nothing tells its length (RS-HEAD-2)
			close(answered)
		}()
		io.WriteString(stream, prelude) // FU-PRELUDE-3, RS-PRELUDE-3
		stream.Write(make([]byte, 8))
		return stream
	}
	switch value, err := function(event, time.UnixMilli(deadline), begin); {
	case answered == nil && err != nil:
		fail(path+"/error", fields, "Function.Error", err) // ER-TYPE-2
	case answered == nil:
		ask("POST", path+"/response", fields, nil, strings.NewReader(value))
	default:
		if err != nil { // RS-TRAILER-1, RS-TRAILER-2
			trailer.Set(typeField, "Function.Error")
			trailer.Set(documentField, base64.StdEncoding.EncodeToString([]byte(describe("Function.Error", err))))
		}
		stream.Close() // RS-END-1
		<-answered
	}
}

// function answers an event of a function URL: with JSON, an error, or a stream, which begin makes of a prelude.
func function(event []byte, deadline time.Time, begin func(prelude string) io.Writer) (string, error) {
	var request struct{ RawPath string }
	json.Unmarshal(event, &request) // an event of another kind has no path
	switch request.RawPath {
	case "/buffered":
		return `{"answer":"in one piece"}`, nil
	case "/error":
		return "", errors.New("failed before the first byte")
	}
	body := begin(`{"statusCode":201,"headers":{"content-type":"text/plain","x-language":"go"},"cookies":["seen=1"]}`)
	for n := 1; n <= 3 || request.RawPath == "/endless"; n++ {
		if _, err := fmt.Fprintf(body, "piece %d\n", n); err != nil {
			return "", err
		}
		if n == 2 && request.RawPath == "/midway" || time.Until(deadline) < time.Second {
			return "", errors.New("failed midway")
		}
		time.Sleep(pause)
	}
	return "", nil
}

func main() {
	if pauseError != nil {
		fail("init/error", http.Header{"Content-Type": {"application/json"}}, "Function.BadPause", pauseError)
		os.Exit(1) // ER-EXIT-8
	}
	for last := ""; ; {
		status, fields, event := ask("GET", "invocation/next", http.Header{}, nil, nil) // RT-NEXT-1
		if status == 0 {
			status, fields, event = ask("GET", "invocation/next", http.Header{}, nil, nil) // RT-NEXT-25
		}
		id := fields.Get("Lambda-Runtime-Aws-Request-Id")
		this := id + fields.Get("Lambda-Runtime-Deadline-Ms") + fields.Get("Lambda-Runtime-Invocation-Id")
		if status != 200 || id == "" || this == last { // RT-NEXT-23 and 24, RT-NEXT-15, RT-RESP-15
			log.Fatal("no invocation to run")
		}
		run(fields, event)
		last = this
	}
}
