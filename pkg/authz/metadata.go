package authz

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of google/protobuf/struct.proto.
const (
	structFields protowire.Number = 1

	valueString protowire.Number = 3
	valueStruct protowire.Number = 5
	valueList   protowire.Number = 6

	listValues protowire.Number = 1
)

// metadataSize is room for what most verdicts say, in bytes.
const metadataSize = 512

// appendMetadata appends an encoded google.protobuf.Struct of what a verdict says
// to operators: for access logs and the filters that follow. It has no part of the
// token. Members without a value are left out.
func appendMetadata(dst []byte, v *Verdict) []byte {
	dst = appendText(dst, "reason", string(v.Reason))
	dst = appendText(dst, "detail", string(v.Detail))
	dst = appendText(dst, "requestId", v.RequestID)
	dst = appendText(dst, "keyId", v.KeyID)
	if v.Policy != nil {
		dst = appendText(dst, "policy", v.Policy.String())
	}
	if v.Record == nil {
		return dst
	}
	dst = appendText(dst, "name", v.Record.Owner.Name)
	dst = appendText(dst, "namespace", v.Record.Owner.Namespace)
	dst = appendText(dst, "environment", v.Record.Environment)
	dst = appendText(dst, "plan", v.Record.Plan)
	dst = appendTexts(dst, "scopes", v.Record.Scopes)
	return appendTextMap(dst, "metadata", v.Record.Metadata)
}

// appendText appends a member with a string.
func appendText(dst []byte, key, text string) []byte {
	if text == "" {
		return dst
	}
	var room [128]byte
	return appendMember(dst, key, appendString(room[:0], text))
}

// appendTexts appends a member with a list of strings.
func appendTexts(dst []byte, key string, texts []string) []byte {
	if len(texts) == 0 {
		return dst
	}
	var listRoom, room [128]byte
	list := listRoom[:0]
	for _, text := range texts {
		list = appendBytes(list, listValues, appendString(room[:0], text))
	}
	return appendMember(dst, key, appendBytes(nil, valueList, list))
}

// appendTextMap appends a member with a struct of strings.
func appendTextMap(dst []byte, key string, texts map[string]string) []byte {
	if len(texts) == 0 {
		return dst
	}
	var fields []byte
	for name, text := range texts {
		fields = appendMember(fields, name, appendString(nil, text))
	}
	return appendMember(dst, key, appendBytes(nil, valueStruct, fields))
}

// appendMember appends an entry of Struct.fields; value is an encoded Value.
func appendMember(dst []byte, key string, value []byte) []byte {
	size := protowire.SizeTag(mapKey) + protowire.SizeBytes(len(key)) +
		protowire.SizeTag(mapValue) + protowire.SizeBytes(len(value))
	dst = protowire.AppendTag(dst, structFields, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(size))
	dst = protowire.AppendTag(dst, mapKey, protowire.BytesType)
	dst = protowire.AppendString(dst, key)
	return appendBytes(dst, mapValue, value)
}

// appendString appends an encoded Value with a string.
func appendString(dst []byte, text string) []byte {
	dst = protowire.AppendTag(dst, valueString, protowire.BytesType)
	return protowire.AppendString(dst, text)
}

// appendBytes appends a field with a message in it.
func appendBytes(dst []byte, n protowire.Number, message []byte) []byte {
	dst = protowire.AppendTag(dst, n, protowire.BytesType)
	return protowire.AppendBytes(dst, message)
}
