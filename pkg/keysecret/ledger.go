package keysecret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/pkg/apikey"
)

// ledgerField is the member of the data that holds a ledger, as JSON.
const ledgerField = "ledger"

// Ledger says which digest each serial of an APIKey has. It is the lock of
// minting: of two that mint one serial, the one whose digest it names has won.
type Ledger struct {
	// Owner is the APIKey.
	Owner apikey.Ref `json:"owner"`
	// Entries by serial.
	Entries map[int64]LedgerEntry `json:"entries"`
}

// LedgerEntry is what a ledger says of one serial.
type LedgerEntry struct {
	// Digest of the serial's token.
	Digest apikey.Digest `json:"digest"`
	// Environment that the serial was minted in.
	Environment string `json:"environment"`
}

// LedgerName is the name of the Secret that holds the ledger of the APIKey with
// this uid.
func LedgerName(ownerUID string) string { return "ledger-" + ownerUID }

// EncodeLedger makes the sealed Secret of a ledger, without a resourceVersion.
func (s *Sealer) EncodeLedger(namespace string, l *Ledger) (*corev1.Secret, error) {
	if l.Owner.UID == "" {
		return nil, errors.New("ledger without an owner")
	}
	content, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      LedgerName(l.Owner.UID),
			Labels:    map[string]string{LabelOwnerUID: l.Owner.UID},
		},
		Type: TypeLedger,
	}
	s.seal(secret, ledgerField, content)
	return secret, nil
}

// DecodeLedger reads the ledger from its Secret. It returns [ErrSeal] or
// [ErrSealVersion] where the seal is not right, and other errors for a sealed
// ledger that this version can't read.
func (s *Sealer) DecodeLedger(secret *corev1.Secret) (*Ledger, error) {
	if secret.Type != TypeLedger {
		return nil, fmt.Errorf("a ledger is of type %s, not %q", TypeLedger, secret.Type)
	}
	content, err := s.open(secret, ledgerField)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(content))
	dec.DisallowUnknownFields()
	l := &Ledger{}
	if err := dec.Decode(l); err != nil {
		return nil, fmt.Errorf("decode ledger: %w", err)
	}
	if LedgerName(l.Owner.UID) != secret.Name {
		return nil, errors.New("the ledger is another APIKey's than its name says")
	}
	return l, nil
}
