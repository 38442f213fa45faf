package hashlist

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// now is when the files of these tests are read.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// hash is the SHA-256 of a key, as a person computes it.
func hash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

func TestRead(t *testing.T) {
	a, b := hash("key-a"), hash("key-b")
	end := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		file string
		want []Row
	}{
		"a table": {
			"name,sha256\none," + a + "\ntwo," + b + "\n",
			[]Row{{Line: 2, Name: "one", SHA256: a}, {Line: 3, Name: "two", SHA256: b}},
		},
		"every column, in any order and case": {
			"SHA256,displayname,Name,scopes,plan,environment,expiresAt\r\n" + strings.ToUpper(a) + `,"Acme, ""CI""",one,read write,business,live,2027-01-01T01:00:00+01:00` + "\r\n",
			[]Row{{Line: 2, Name: "one", SHA256: a, DisplayName: `Acme, "CI"`, Scopes: []string{"read", "write"}, Plan: "business", Environment: "live", ExpiresAt: &end}},
		},
		"scopes with commas": {
			"name,sha256,scopes\none," + a + ",\"read,write\"\n",
			[]Row{{Line: 2, Name: "one", SHA256: a, Scopes: []string{"read", "write"}}},
		},
		"a byte order mark": {"\ufeffname,sha256\none," + a, []Row{{Line: 2, Name: "one", SHA256: a}}},
		"one hash a line":   {"# from the vault\n\n" + a + "\n", []Row{{Line: 3, Name: "old-" + a[:12], SHA256: a}}},
		"sha256sum": {
			a + "  keys/a.txt\n" + b + " *-\n",
			[]Row{{Line: 1, Name: "old-" + a[:12], SHA256: a}, {Line: 2, Name: "old-" + b[:12], SHA256: b}},
		},
		"nothing": {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Read(strings.NewReader(tc.file), Options{NamePrefix: "old-", Now: now})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestReadRefuses: a bad line is named by its number, nothing of it is repeated, and
// the good ones are still there.
func TestReadRefuses(t *testing.T) {
	const key = "sk_live_0123456789abcdefghij"
	good := hash("good")
	for name, tc := range map[string]struct {
		file string
		want string
		rows int
	}{
		"a key for a hash":          {"name,sha256\none," + key + "\ntwo," + good, "line 2: the hash is not", 1},
		"a key in a plain file":     {good + "\n" + key + "\n", "line 2: the hash is not", 1},
		"a key beside its hash":     {"name,sha256,displayName\none," + hash(key) + "," + key, "line 2: a column holds the key", 0},
		"a key for a file's name":   {hash(key) + "  " + key, "line 1: a column holds the key", 0},
		"a key for a name":          {"name,sha256\nabcdefghij0123456789abcdefghij01," + hash("abcdefghij0123456789abcdefghij01"), "line 2: a column holds the key", 0},
		"63 digits":                 {"name,sha256\none," + good[1:], "line 2: the hash is not", 0},
		"no hash":                   {"name,sha256\none,\n", "line 2: the hash is not", 0},
		"a bad name":                {"name,sha256\nOne_" + key + "," + good, "line 2: the name is not possible", 0},
		"a column too few":          {"name,sha256,plan\none," + good, "line 2: it has not as many columns", 0},
		"a quote":                   {"name,sha256\n\"one," + good, "line 2: it can't be read as CSV", 0},
		"an unknown column":         {"name,sha256," + key + "\n", "line 1: column 3 is none of name, sha256", 0},
		"no column of names":        {"sha256,plan\n", "line 1: there is no column name", 0},
		"a column twice":            {"name,sha256,Name\n", "line 1: there are two columns name", 0},
		"not a time":                {"name,sha256,expiresAt\none," + good + ",90d", "line 2: expiresAt is not a time", 0},
		"over":                      {"name,sha256,expiresAt\none," + good + ",2026-03-01T12:00:00Z", "line 2: expiresAt is over", 0},
		"a hash twice":              {"name,sha256\none," + good + "\ntwo," + good, "line 3: line 2 has the same hash", 1},
		"a name twice":              {"name,sha256\none," + good + "\none," + hash("x"), "line 3: line 2 has the same name", 1},
		"a line that is too long":   {good + "\n" + strings.Repeat("k", maxLine+1), "too long", 1},
		"an escaped sha256sum line": {"\\" + good + "  a\\nb", "line 1: the hash is not", 0},
	} {
		t.Run(name, func(t *testing.T) {
			rows, err := Read(strings.NewReader(tc.file), Options{NamePrefix: "old-", Now: now})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("says %v, want %q", err, tc.want)
			}
			if strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "kkkk") {
				t.Errorf("the line is repeated: %v", err)
			}
			if len(rows) != tc.rows {
				t.Errorf("%d rows are left, want %d", len(rows), tc.rows)
			}
		})
	}
	t.Run("a plain file without a prefix", func(t *testing.T) {
		if _, err := Read(strings.NewReader(good), Options{Now: now}); err == nil || !strings.Contains(err.Error(), "--name-prefix") {
			t.Errorf("says %v", err)
		}
	})
}

// TestSay: of many problems ten are told.
func TestSay(t *testing.T) {
	_, err := Read(strings.NewReader(strings.Repeat("no\n", 25)), Options{NamePrefix: "x-", Now: now})
	said := Say(err).Error()
	if lines := strings.Count(said, "\n") + 1; lines != 11 || !strings.HasSuffix(said, "… and 15 more") {
		t.Errorf("%d lines: %s", lines, said)
	}
}

// FuzzRead: whatever the file, every row that is left has a hash and a name, no two the
// same, and no error repeats a key that stands where a hash or a name should.
func FuzzRead(f *testing.F) {
	const canary = "sk_live_CanaryCanaryCanary"
	f.Add("name,sha256\none," + hash("a") + "\ntwo,")
	f.Add(hash("a") + "  a\n" + hash("b"))
	f.Add("\ufeffsha256,name,scopes\n\"" + hash("a") + "\",b,\"x y\"")
	f.Fuzz(func(t *testing.T, file string) {
		rows, _ := Read(strings.NewReader(file), Options{NamePrefix: "p-", Now: now})
		names, hashes := map[string]bool{}, map[string]bool{}
		for _, row := range rows {
			if !hashShape.MatchString(row.SHA256) || !nameShape.MatchString(row.Name) || names[row.Name] || hashes[row.SHA256] || row.Line < 1 {
				t.Errorf("row %+v", row)
			}
			names[row.Name], hashes[row.SHA256] = true, true
		}
		_, err := Read(strings.NewReader(file+"\n"+canary+"\n"+canary+","+canary), Options{NamePrefix: "p-", Now: now})
		if err != nil && strings.Contains(Say(err).Error(), canary) {
			t.Errorf("repeats the file: %v", err)
		}
	})
}
