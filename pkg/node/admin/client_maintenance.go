package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// maintenanceLimit bounds a check, a repair or a growth: the metadata of a large pool takes minutes to read.
const maintenanceLimit = 2 * time.Hour

// CheckPool checks a pool that the agent has, open or not. Errors match the sentinels of thinpool and pools.
func (c *Client) CheckPool(ctx context.Context, pool string) (thinpool.CheckReport, error) {
	var report thinpool.CheckReport
	_, err := c.maintain(ctx, http.MethodGet, checkPath, pool, nil, &report)
	return report, err
}

// RepairPool has the agent shut a pool down, repair it as approved and open it again. On an error the report says how far
// it came.
func (c *Client) RepairPool(ctx context.Context, pool string, approved []thinpool.RepairAction) (thinpool.RepairReport, error) {
	var report thinpool.RepairReport
	f, err := c.maintain(ctx, http.MethodPost, repairPath, pool, repairRequest{approved}, &report)
	if f.Repair != nil {
		report = *f.Repair
	}
	return report, err
}

// GrowPool has the agent take into use what the pool's devices have grown by.
func (c *Client) GrowPool(ctx context.Context, pool string) (Growth, error) {
	var growth Growth
	_, err := c.maintain(ctx, http.MethodPost, growPath, pool, nil, &growth)
	return growth, err
}

// DropBase has the agent delete the base on a thin id: thinpool.Pool.DropBase.
func (c *Client) DropBase(ctx context.Context, pool string, thin uint32) error {
	var done dropRequest
	_, err := c.maintain(ctx, http.MethodPost, dropPath, pool, dropRequest{thin}, &done)
	return err
}

func (c *Client) maintain(ctx context.Context, method, path, pool string, body, into any) (f failure, err error) {
	ctx, cancel := context.WithTimeout(ctx, maintenanceLimit)
	defer cancel()
	raw, err := json.Marshal(body)
	if err != nil {
		return f, err
	}
	address := "http://agent" + strings.Replace(path, "{pool}", url.PathEscape(pool), 1)
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(raw))
	if err != nil {
		return f, err
	}
	response, err := c.do(request)
	if err != nil {
		return f, err
	}
	defer func() { _ = response.Body.Close() }()
	decoder := json.NewDecoder(response.Body)
	switch response.StatusCode {
	case http.StatusOK:
		err = decoder.Decode(into)
	case http.StatusConflict:
		if err = decoder.Decode(&f); err == nil {
			return f, f.err()
		}
	default:
		err = fmt.Errorf("%s %s: %s", method, path, response.Status)
	}
	if err != nil {
		err = fmt.Errorf("ask the node agent: %w", err)
	}
	return f, err
}
