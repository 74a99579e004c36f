package mlflow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
)

// client of the REST API, for one run.
type client struct {
	base                  string // with "/" at its end, without credentials
	token, user, password string
	http                  http.Client
	runID                 string // "" before open
}

// refusal is an answer with which the server says no.
type refusal struct {
	status  int
	code    string
	message string
}

func (r *refusal) Error() string {
	return strings.TrimSpace(fmt.Sprintf("HTTP %d %s %s", r.status, r.code, r.message))
}

// refused reports whether a request would be refused again: its values are wrong, not its circumstances.
func refused(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.status == http.StatusBadRequest
}

// open finds the run, or makes it, and says that it goes on.
func (c *client) open(ctx context.Context, r run) error {
	if c.runID != "" {
		return nil
	}
	experiment, err := c.experiment(ctx, r.experiment)
	if err != nil {
		return err
	}
	var found struct {
		Runs []struct {
			Info struct {
				RunID string `json:"run_id"`
			} `json:"info"`
		} `json:"runs"`
	}
	err = c.post(ctx, "runs/search", map[string]any{"experiment_ids": []string{experiment}, "max_results": 1,
		"filter": "tags.`" + rootTag + "` = " + quoted(r.key)}, &found)
	if err != nil {
		return err
	}
	if len(found.Runs) > 0 {
		c.runID = found.Runs[0].Info.RunID
		return nil
	}
	var created struct {
		Run struct {
			Info struct {
				RunID string `json:"run_id"`
			} `json:"info"`
		} `json:"run"`
	}
	err = c.post(ctx, "runs/create", map[string]any{"experiment_id": experiment, "run_name": r.name,
		"start_time": r.start.UnixMilli(), "tags": []pair{{rootTag, r.key}, {"mlflow.source.name", "resnet-operator"}}},
		&created)
	if err == nil && created.Run.Info.RunID == "" {
		err = errors.New("runs/create: the answer has no run_id: is this an MLflow server?")
	}
	if err == nil {
		c.runID = created.Run.Info.RunID
	}
	return err
}

// quoted is a text in a filter, which has no word for a text with both kinds of quotes.
func quoted(text string) string {
	if strings.Contains(text, "'") {
		return `"` + text + `"`
	}
	return "'" + text + "'"
}

// experiment returns the ID of an experiment, which it makes if there is none of that name.
func (c *client) experiment(ctx context.Context, name string) (string, error) {
	var found struct {
		Experiment struct {
			ID string `json:"experiment_id"`
		} `json:"experiment"`
	}
	err := c.do(ctx, http.MethodGet, "experiments/get-by-name?experiment_name="+url.QueryEscape(name), nil, &found)
	var r *refusal
	if err == nil && found.Experiment.ID != "" || err != nil && !(errors.As(err, &r) && r.status == http.StatusNotFound) {
		return found.Experiment.ID, err
	}
	var created struct {
		ID string `json:"experiment_id"`
	}
	err = c.post(ctx, "experiments/create", map[string]any{"name": name}, &created)
	if err == nil && created.ID == "" {
		err = errors.New("experiments/create: the answer has no experiment_id: is this an MLflow server?")
	}
	return created.ID, err
}

func (c *client) logBatch(ctx context.Context, b batch) error {
	return c.post(ctx, "runs/log-batch", struct {
		RunID string `json:"run_id"`
		batch
	}{c.runID, b}, nil)
}

func (c *client) update(ctx context.Context, s Status) error {
	change := map[string]any{"run_id": c.runID, "status": s}
	if s != Running {
		change["end_time"] = time.Now().UnixMilli()
	}
	return c.post(ctx, "runs/update", change, nil)
}

func (c *client) post(ctx context.Context, path string, body, into any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, path, encoded, into)
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

func (c *client) do(ctx context.Context, method, path string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base+"api/2.0/mlflow/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	switch {
	case c.token != "":
		req.Header.Set("Authorization", "Bearer "+c.token)
	case c.user != "":
		req.SetBasicAuth(c.user, c.password)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		r := &refusal{status: resp.StatusCode}
		var said struct {
			Code    string `json:"error_code"`
			Message string `json:"message"`
		}
		if json.Unmarshal(answer, &said) == nil {
			r.code, r.message = said.Code, contract.Line(contract.Shorten(said.Message, 300))
		}
		return fmt.Errorf("%s: %w", strings.Split(path, "?")[0], r)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("%s: the answer is not JSON: is this an MLflow server?", strings.Split(path, "?")[0])
	}
	return nil
}
