package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// Engine checks and repairs pools that are not open.
type Engine interface {
	Check(ctx context.Context, config thinpool.Config) (thinpool.CheckReport, error)
	Repair(ctx context.Context, config thinpool.Config, approved []thinpool.RepairAction) (thinpool.RepairReport, error)
}

// KernelEngine is the Engine that works on the kernel's pools.
type KernelEngine struct{ DM *devicemapper.Client }

// Check is thinpool.Check.
func (e KernelEngine) Check(ctx context.Context, config thinpool.Config) (thinpool.CheckReport, error) {
	return thinpool.Check(ctx, e.DM, config)
}

// Repair is thinpool.Repair.
func (e KernelEngine) Repair(ctx context.Context, config thinpool.Config, approved []thinpool.RepairAction) (thinpool.RepairReport, error) {
	return thinpool.Repair(ctx, e.DM, config, approved)
}

// Paths of the requests about one pool.
const (
	checkPath  = poolsPath + "/{pool}/check"
	repairPath = poolsPath + "/{pool}/repair"
	growPath   = poolsPath + "/{pool}/grow"
	dropPath   = poolsPath + "/{pool}/drop-base"
)

// repairRequest is the body of a repair.
type repairRequest struct {
	Approved []thinpool.RepairAction `json:"approved"`
}

// dropRequest is the body of the request to drop a base, and of the answer.
type dropRequest struct {
	ThinID uint32 `json:"thinID"`
}

// answerLimit bounds the body of a request, in bytes.
const answerLimit = 64 << 10

// failure is the body of an answer that is none. Code tells the client which error it is.
type failure struct {
	Error  string                 `json:"error"`
	Code   string                 `json:"code,omitempty"`
	Repair *thinpool.RepairReport `json:"repair,omitempty"` // how far it came
}

// codes are the errors that a client tells apart.
var codes = map[string]error{
	"unknownPool":  pools.ErrUnknown,
	"notOpen":      pools.ErrNotOpen,
	"volumeInUse":  thinpool.ErrVolumeInUse,
	"deviceInUse":  thinpool.ErrDeviceInUse,
	"notApproved":  thinpool.ErrNotApproved,
	"notOwned":     thinpool.ErrNotOwned,
	"poolDamaged":  thinpool.ErrPoolDamaged,
	"metadataHeld": thinpool.ErrMetadataHeld,
	"baseNotFound": thinpool.ErrBaseNotFound,
}

func handleMaintenance(mux *http.ServeMux, set *pools.Set, engine Engine, changed func(pool string)) {
	mux.HandleFunc("GET "+checkPath, func(w http.ResponseWriter, r *http.Request) {
		report, err := set.Check(r.Context(), r.PathValue("pool"), engine.Check)
		if err != nil {
			refuse(r.Context(), w, err, nil)
			return
		}
		answer(r.Context(), w, report)
	})
	mux.HandleFunc("POST "+repairPath, func(w http.ResponseWriter, r *http.Request) {
		var request repairRequest
		if !readBody(w, r, &request) {
			return
		}
		var report thinpool.RepairReport
		err := set.Maintain(r.Context(), r.PathValue("pool"), func(ctx context.Context, config thinpool.Config) (err error) {
			report, err = engine.Repair(ctx, config, request.Approved)
			return err
		})
		changed(r.PathValue("pool"))
		if err != nil {
			refuse(r.Context(), w, err, &report)
			return
		}
		answer(r.Context(), w, report)
	})
	mux.HandleFunc("POST "+growPath, func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("pool")
		growth := Growth{Before: poolInfo(r.Context(), set, name)}
		if err := set.Grow(r.Context(), name); err != nil {
			refuse(r.Context(), w, err, nil)
			return
		}
		changed(name)
		growth.After = poolInfo(r.Context(), set, name)
		answer(r.Context(), w, growth)
	})
	mux.HandleFunc("POST "+dropPath, func(w http.ResponseWriter, r *http.Request) {
		var request dropRequest
		if !readBody(w, r, &request) {
			return
		}
		name := r.PathValue("pool")
		pool, err := set.Get(name)
		if err == nil {
			err = pool.DropBase(r.Context(), request.ThinID)
		}
		if err != nil {
			refuse(r.Context(), w, err, nil)
			return
		}
		changed(name)
		answer(r.Context(), w, request)
	})
}

// readBody reads the body of a request, or answers that it is none of this kind.
func readBody(w http.ResponseWriter, r *http.Request, request any) bool {
	decoder := json.NewDecoder(io.LimitReader(r.Body, answerLimit))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(request); err != nil {
		http.Error(w, "the body is not this request's", http.StatusBadRequest)
		return false
	}
	return true
}

func refuse(ctx context.Context, w http.ResponseWriter, err error, report *thinpool.RepairReport) {
	f := failure{Error: err.Error(), Repair: report}
	for code, sentinel := range codes {
		if errors.Is(err, sentinel) {
			f.Code = code
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusConflict)
	answer(ctx, w, f)
}

// Growth is a pool before and after it was grown.
type Growth struct {
	Before PoolInfo `json:"before"`
	After  PoolInfo `json:"after"`
}

// remoteError is an error of the agent's. It matches the sentinel that its code stands for.
type remoteError struct {
	text     string
	sentinel error
}

func (e *remoteError) Error() string { return e.text }

func (e *remoteError) Is(target error) bool { return e.sentinel != nil && target == e.sentinel }

func (f failure) err() error {
	if f.Error == "" {
		return fmt.Errorf("the node agent gave no reason")
	}
	return &remoteError{text: f.Error, sentinel: codes[f.Code]}
}
