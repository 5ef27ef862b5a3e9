package http

// cryptoRoutes are the routes of cryptography.
func (s *Server) cryptoRoutes() []route {
	var table missing
	add := table.add
	add("cryptography", "PUT", alpha1, "crypto/{name}/encrypt", "crypto", "Encrypt")
	add("cryptography", "PUT", alpha1, "crypto/{name}/decrypt", "crypto", "Decrypt")
	for _, operation := range []string{"getkey", "encrypt", "decrypt", "wrapkey", "unwrapkey", "sign", "verify"} {
		add("subtle cryptography", "POST", alpha1, "subtlecrypto/{name}/"+operation, "subtlecrypto", "SubtleCrypto")
	}
	return table
}
