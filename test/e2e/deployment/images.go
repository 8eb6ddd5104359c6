package deployment

import (
	"context"
	"errors"
)

// Image is an image's name.
type Image struct {
	Repository, Tag string
}

func (i Image) String() string { return i.Repository + ":" + i.Tag }

// Images are the driver's two images.
type Images struct {
	Controller, Node Image
}

func (d *Deployment) buildImages(context.Context) error { return errors.ErrUnsupported }

func (d *Deployment) loadImages(context.Context) error { return errors.ErrUnsupported }
