/** Object identifiers that more than one file needs, by the names of their standards. */
export const OID = {
  // Keys (RFC 3279, RFC 5480)
  rsaEncryption: '1.2.840.113549.1.1.1', ecPublicKey: '1.2.840.10045.2.1', p256: '1.2.840.10045.3.1.7', p384: '1.3.132.0.34',
  // Signatures (RFC 4055, RFC 5758)
  sha256WithRsa: '1.2.840.113549.1.1.11', sha384WithRsa: '1.2.840.113549.1.1.12', rsaPss: '1.2.840.113549.1.1.10', mgf1: '1.2.840.113549.1.1.8',
  ecdsaSha256: '1.2.840.10045.4.3.2', ecdsaSha384: '1.2.840.10045.4.3.3', sha256: '2.16.840.1.101.3.4.2.1', sha384: '2.16.840.1.101.3.4.2.2',
  // Extensions of certificates, lists and their entries (RFC 5280, sections 4.2 and 5.2)
  subjectKeyIdentifier: '2.5.29.14', keyUsage: '2.5.29.15', subjectAltName: '2.5.29.17', basicConstraints: '2.5.29.19', crlNumber: '2.5.29.20', reasonCode: '2.5.29.21',
  invalidityDate: '2.5.29.24', crlDistributionPoints: '2.5.29.31', authorityKeyIdentifier: '2.5.29.35', extendedKeyUsage: '2.5.29.37',
  // Purposes: the attestation key of a TPM (TCG EK Credential Profile), and any
  tpmAttestationKey: '2.23.133.8.3', anyExtendedKeyUsage: '2.5.29.37.0',
} as const;

/** Short names of attributes (RFC 4514, section 3, and what OpenSSL prints); others are shown as dotted decimal. */
export const ATTRIBUTE_NAMES: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN', '2.5.4.5': 'serialNumber', '2.5.4.6': 'C', '2.5.4.7': 'L', '2.5.4.8': 'ST', '2.5.4.9': 'street', '2.5.4.10': 'O', '2.5.4.11': 'OU',
  '0.9.2342.19200300.100.1.1': 'UID', '0.9.2342.19200300.100.1.25': 'DC', '1.2.840.113549.1.9.1': 'emailAddress',
};
