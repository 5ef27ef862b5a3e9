package grpc

import "strings"

// cryptoGroups are the methods of cryptography.
func cryptoGroups() []group {
	words := strings.Fields
	return []group{
		{key: "crypto.v1alpha1", missing: "cryptography", methods: words("EncryptAlpha1 DecryptAlpha1")},
		{key: "subtlecrypto.v1alpha1", missing: "subtle cryptography", methods: words(`SubtleGetKeyAlpha1
			SubtleEncryptAlpha1 SubtleDecryptAlpha1 SubtleWrapKeyAlpha1 SubtleUnwrapKeyAlpha1 SubtleSignAlpha1
			SubtleVerifyAlpha1`)},
	}
}
