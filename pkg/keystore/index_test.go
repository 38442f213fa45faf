package keystore

import (
	"testing"

	"keygate.dev/keygate/pkg/apikey"
)

// TestIndexVersions checks what each source of news may do to the version of one
// digest.
func TestIndexVersions(t *testing.T) {
	d := digest(1)
	listed := func(version uint64, sound bool) []*item {
		return []*item{{digest: d, version: version, sound: sound}}
	}
	for name, tc := range map[string]struct {
		known uint64
		act   func(x *index) bool
		news  bool
		want  uint64
	}{
		"the watch adds":                           {0, func(x *index) bool { return x.advance(d, 5) }, true, 5},
		"the watch updates":                        {5, func(x *index) bool { return x.advance(d, 6) }, true, 6},
		"the watch repeats":                        {5, func(x *index) bool { return x.advance(d, 5) }, false, 5},
		"the watch is behind":                      {5, func(x *index) bool { return x.advance(d, 4) }, false, 5},
		"a deletion":                               {5, func(x *index) bool { return x.remove(d, 6) }, true, 0},
		"a deletion of this very version":          {5, func(x *index) bool { return x.remove(d, 5) }, true, 0},
		"a deletion of an older record":            {5, func(x *index) bool { return x.remove(d, 4) }, false, 5},
		"a deletion of nothing":                    {0, func(x *index) bool { return x.remove(d, 4) }, false, 0},
		"a read confirms":                          {5, func(x *index) bool { return x.confirm(d, 5) }, true, 5},
		"a read is ahead":                          {5, func(x *index) bool { return x.confirm(d, 7) }, true, 7},
		"a read is behind":                         {5, func(x *index) bool { return x.confirm(d, 4) }, false, 5},
		"a read of what is gone":                   {0, func(x *index) bool { return x.confirm(d, 4) }, false, 0},
		"a repair adds":                            {0, func(x *index) bool { return x.admit(d, 5, x.deletions(d)) }, true, 5},
		"a repair updates":                         {5, func(x *index) bool { return x.admit(d, 6, x.deletions(d)) }, true, 6},
		"a repair is behind":                       {5, func(x *index) bool { return x.admit(d, 4, x.deletions(d)) }, false, 5},
		"a repair read before a deletion":          {5, func(x *index) bool { n := x.deletions(d); x.remove(d, 6); return x.admit(d, 5, n) }, false, 0},
		"a repair read after a deletion":           {5, func(x *index) bool { x.remove(d, 6); return x.admit(d, 8, x.deletions(d)) }, true, 8},
		"a repair read before a list removed it":   {5, func(x *index) bool { n := x.deletions(d); x.replace(nil, 6); return x.admit(d, 5, n) }, false, 0},
		"a list without it":                        {5, func(x *index) bool { return len(x.replace(nil, 5)) == 1 }, true, 0},
		"a list that is older than it":             {5, func(x *index) bool { return len(x.replace(nil, 4)) == 1 }, false, 5},
		"a list adds":                              {0, func(x *index) bool { return len(x.replace(listed(3, true), 4)) == 0 }, true, 3},
		"a list updates":                           {2, func(x *index) bool { return len(x.replace(listed(3, true), 4)) == 0 }, true, 3},
		"a list with an older form of it":          {5, func(x *index) bool { return len(x.replace(listed(3, true), 4)) == 0 }, true, 5},
		"a list with an unsound form of it":        {5, func(x *index) bool { return len(x.replace(listed(7, false), 8)) == 0 }, true, 5},
		"a list with an unsound form of a new one": {0, func(x *index) bool { return len(x.replace(listed(7, false), 8)) == 0 }, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			x := newIndex()
			if tc.known != 0 {
				x.advance(d, tc.known)
			}
			if news := tc.act(x); news != tc.news {
				t.Errorf("reported %v, want %v", news, tc.news)
			}
			if got := x.version(d); got != tc.want {
				t.Errorf("version %d, want %d", got, tc.want)
			}
			if got, want := x.len(), min(int(tc.want), 1); got != want {
				t.Errorf("%d digests, want %d", got, want)
			}
		})
	}
}

// TestIndexReplaceAcrossShards replaces a thousand digests by another thousand that
// half overlap.
func TestIndexReplaceAcrossShards(t *testing.T) {
	x := newIndex()
	for n := range 1000 {
		x.advance(digest(n), 1)
	}
	var items []*item
	for n := 500; n < 1500; n++ {
		items = append(items, &item{digest: digest(n), version: 2, sound: true})
	}
	gone := x.replace(items, 3)
	if len(gone) != 500 {
		t.Errorf("%d gone, want 500", len(gone))
	}
	for n := range 1500 {
		want := uint64(2)
		if n < 500 {
			want = 0
		}
		if got := x.version(digest(n)); got != want {
			t.Fatalf("digest %d: version %d, want %d", n, got, want)
		}
	}
	seen := 0
	x.each(func(_ apikey.Digest, version uint64) { seen += int(version) })
	if seen != 2000 {
		t.Errorf("each saw versions that add up to %d, want 2000", seen)
	}
}
