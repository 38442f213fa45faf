package authz

import (
	"errors"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
)

// errWireType is returned where a field is not of the type that it is declared
// with.
var errWireType = errors.New("field of another type")

// value is one field's value in an encoded message.
type value struct {
	typ protowire.Type
	// bytes is the content if typ is [protowire.BytesType].
	bytes []byte
}

// eachField calls f for every field of an encoded message, in order, until it
// returns an error. Fields that f does not know are its to pass over.
func eachField(b []byte, f func(protowire.Number, value) error) error {
	for len(b) > 0 {
		n, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		v := value{typ: typ}
		if typ == protowire.BytesType {
			v.bytes, size = protowire.ConsumeBytes(b)
		} else {
			size = protowire.ConsumeFieldValue(n, typ, b)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		if err := f(n, v); err != nil {
			return err
		}
	}
	return nil
}

// message reads the value as a message.
func (v value) message(f func(protowire.Number, value) error) error {
	if v.typ != protowire.BytesType {
		return errWireType
	}
	return eachField(v.bytes, f)
}

// text makes dst a view of the value: it is good for as long as the buffer of the
// message is.
func (v value) text(dst *string) error {
	if v.typ != protowire.BytesType {
		return errWireType
	}
	*dst = unsafe.String(unsafe.SliceData(v.bytes), len(v.bytes))
	return nil
}

// mapEntry reads the value as an entry of a map<string, string>, as views.
func (v value) mapEntry() (key, val string, err error) {
	err = v.message(func(n protowire.Number, v value) error {
		switch n {
		case mapKey:
			return v.text(&key)
		case mapValue:
			return v.text(&val)
		}
		return nil
	})
	return key, val, err
}
