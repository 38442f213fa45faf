package authz

import (
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// codec reads and writes the messages of Check in its own way, and those of other
// services (health) as the standard codec does.
type codec struct{ encoding.CodecV2 }

// newCodec makes the codec. Its name stays "proto".
func newCodec() codec { return codec{encoding.GetCodecV2(protocodec.Name)} }

// Marshal implements [encoding.CodecV2].
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	a, ok := v.(*answer)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	out, err := a.encode()
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(out)}, nil
}

// Unmarshal implements [encoding.CodecV2].
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*checkRequest)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	in.fill(data)
	return nil
}
