// AWS's runtime for Go. It asks and answers by itself, so its handler measures: from one call to a later one.
// The job and what is said of it: see job.py.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
)

type job struct {
	Address string  `json:"address"`
	Work    string  `json:"work"`
	Size    int     `json:"size"`
	Chunks  int     `json:"chunks"`
	JSON    bool    `json:"json"`
	Seconds float64 `json:"seconds"`
	Least   int     `json:"least"`
	Measure string  `json:"measure"`
}

var (
	told        = job{Work: "echo", Seconds: 0.1, Least: 1, Measure: "time"}
	calls, warm int
	start       time.Time
	before      float64
)

func cpu() float64 {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return float64(used.Utime.Nano()+used.Stime.Nano()) / 1e9
}

func peak() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	kilobytes, _ := strconv.ParseFloat(string(found[1]), 64)
	return kilobytes * 1024
}

// call is what each invocation begins with: it ends the process when the job is done.
func call() {
	calls++
	resident := told.Measure == "resident"
	if calls == warm+1 {
		start, before = time.Now(), cpu()
		if resident {
			before = peak()
		}
		return
	}
	ops := calls - warm - 1
	wall := time.Since(start).Seconds()
	if ops < told.Least || wall < told.Seconds {
		return
	}
	if resident {
		fmt.Printf("{\"peak\": %f, \"growth\": %f}\n", peak(), peak()-before)
	} else {
		fmt.Printf("{\"ops\": %d, \"wall\": %f, \"cpu\": %f}\n", ops, wall, cpu()-before)
	}
	os.Exit(0)
}

type raw struct{}

func (raw) Invoke(_ context.Context, event []byte) ([]byte, error) {
	call()
	return event, nil
}

func parsed(_ context.Context, event any) (any, error) {
	call()
	return event, nil
}

// chunks gives one chunk a read.
type chunks struct {
	chunk []byte
	left  int
	rest  []byte
}

func (c *chunks) Read(into []byte) (int, error) {
	if len(c.rest) == 0 {
		if c.left == 0 {
			return 0, io.EOF
		}
		c.left--
		c.rest = c.chunk
	}
	n := copy(into, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func streamed(context.Context) (io.Reader, error) {
	call()
	count := told.Chunks
	if told.Measure == "resident" && calls <= warm {
		count = 16
	}
	if told.Work == "first" {
		count = 1
	}
	return &chunks{chunk: chunk, left: count}, nil
}

var chunk []byte

func main() {
	if err := json.Unmarshal([]byte(os.Args[len(os.Args)-1]), &told); err != nil {
		panic(err)
	}
	warm = 20
	if told.Size*max(1, told.Chunks) >= 100_000 {
		warm = 2
	}
	if told.Measure == "resident" {
		told.Seconds, told.Least = 0, 1
	}
	if told.Address != "" {
		_ = os.Setenv("AWS_LAMBDA_RUNTIME_API", told.Address)
	}
	chunk = make([]byte, told.Size)
	switch {
	case told.Work != "echo" && told.Work != "runtime":
		lambda.Start(streamed)
	case told.JSON:
		lambda.Start(parsed)
	default:
		lambda.Start(raw{})
	}
}
