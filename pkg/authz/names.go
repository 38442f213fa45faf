package authz

// Servers behind Envoy differ in which header names they take for the same:
// CGI, WSGI and their kin turn "-" into "_", PHP turns "." into "_" as well. A name
// is therefore compared in its normal form: lower case, "_" and "." as "-".

// normal is the normal form of one byte of a header name.
func normal(c byte) byte {
	if c == '_' || c == '.' {
		return '-'
	}
	return lower(c)
}

// lower is c in ASCII lower case.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// hasNormalPrefix reports whether the normal form of name begins with prefix,
// which is in normal form. No name begins with the empty prefix.
func hasNormalPrefix(name, prefix string) bool {
	if prefix == "" || len(name) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if normal(name[i]) != prefix[i] {
			return false
		}
	}
	return true
}

// equalNormal reports whether the normal form of name is want, which is in normal
// form.
func equalNormal(name, want string) bool {
	return len(name) == len(want) && hasNormalPrefix(name, want)
}

// equalFold reports whether s is want, which is in lower case, but for ASCII case.
func equalFold(s, want string) bool {
	if len(s) != len(want) {
		return false
	}
	for i := range len(want) {
		if lower(s[i]) != want[i] {
			return false
		}
	}
	return true
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2: what a method
// or a header name is made of.
func isToken(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '!', c == '#', c == '$', c == '%', c == '&', c == '\'', c == '*', c == '+',
			c == '-', c == '.', c == '^', c == '_', c == '`', c == '|', c == '~':
		default:
			return false
		}
	}
	return s != ""
}
