// Certificates and keys of kinds that the local authority does not make.
// None of them protects anything; the password of the key is "x".

enum CertificateSamples {
    /// RSA, signed with SHA-1.
    static let rsaSHA1 = """
        -----BEGIN CERTIFICATE-----
        MIIDDzCCAfegAwIBAgIURdzSCm+3xSijiQxRoVOF2UKiV2IwDQYJKoZIhvcNAQEF
        BQAwFjEUMBIGA1UEAwwLZXhhbXBsZS5vcmcwIBcNMjYxMTIxMDAwMzA5WhgPMjEy
        NjEwMjgwMDAzMDlaMBYxFDASBgNVBAMMC2V4YW1wbGUub3JnMIIBIjANBgkqhkiG
        9w0BAQEFAAOCAQ8AMIIBCgKCAQEAwzcb3aSEeesQqFbQ1r1WMWLWUQt0iS6Sdixg
        nzpjmRveG9Kv9akgs/OrPs9zsMgza7dQGteMKwpxTrJYtoESVBDZRa+/Be+FA8aR
        lMC6d3qhhAbi7n4spC5Ok66UYLOd2IrEKzDv57FCzXSHYHx8vJl1xZgz0wqzOUUj
        MUMDTtJhLisAKfZN4rcP1/SVzj8v7upuuDRm/+Di8s0fueexkt0PEftWdzZ3XZ4X
        ifOT9+9v/QEdRcxtcdg9J4QS1+VW0osyRA0MxhgrBKV9xEWTk2hKeQLdLpMIi69B
        zBpGzBQkQqAC9vzL3gDZbhfrib414XdEiPhvjJ+zBNu0KBmtEwIDAQABo1MwUTAd
        BgNVHQ4EFgQUcJSW53uvIgt8bp+zOnrvE/1/KK8wHwYDVR0jBBgwFoAUcJSW53uv
        Igt8bp+zOnrvE/1/KK8wDwYDVR0TAQH/BAUwAwEB/zANBgkqhkiG9w0BAQUFAAOC
        AQEAIaFqMXire3TbkEj39QhGLFD3UU6kqOBewA/PNT/BaPV3TeC1Gxjy1y7cshSY
        fX6nqUYplJZU4ojoym0RdWqln2pF3Jrf1i+5QSVfHf0VP76mT9Ii2+zFxH9gnxss
        cH+Es2mfQYvZ35J7BcDuCmTDIgX/w72ab81fwuO03BEM54CUgCvb6i/yIPMfpoiL
        H5kegObOQTGVILQ/qY76sscGRTcpltxEyFJn+8nqa4jHMMo5ykp0316sndSk6Uou
        pcA8Z21q7CX4jMsaXYSFVp4be2mj5ob234FWDECPfdL8JnoFPpqC8IuKd7QJyvIX
        6LIYOeDhBBJdALwEvQKG17mUvA==
        -----END CERTIFICATE-----

        """

    /// P-256, signed with SHA-384.
    static let ecdsaSHA384 = """
        -----BEGIN CERTIFICATE-----
        MIIBgzCCASmgAwIBAgIUa8zTKbU+tPCpRAuW4Zim5Z8TNXAwCgYIKoZIzj0EAwMw
        FjEUMBIGA1UEAwwLZXhhbXBsZS5vcmcwIBcNMjYxMTIxMDAwMzA5WhgPMjEyNjEw
        MjgwMDAzMDlaMBYxFDASBgNVBAMMC2V4YW1wbGUub3JnMFkwEwYHKoZIzj0CAQYI
        KoZIzj0DAQcDQgAEIgMjoc5fjsZGl0qHvJS8ZYGPlzxfq9fAe7ld1RgMLS1JPTs4
        RvotpTrHE3oRh/Eilc0WByL0Oi5FeOyMjppIlaNTMFEwHQYDVR0OBBYEFDZi+Gtq
        rvzZG4yIkbwyg/YD33QWMB8GA1UdIwQYMBaAFDZi+GtqrvzZG4yIkbwyg/YD33QW
        MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwMDSAAwRQIgEB2CGFoSizXJn9fJ
        zqWRDEujcwzuvylbEYcWoG3mLgwCIQCUHp5A5WMzkZlt7zPhEWh26xuTYuKAGul+
        tpxJCzWeCw==
        -----END CERTIFICATE-----

        """

    /// RSA, signed with PSS and SHA-512.
    static let rsaPSSSHA512 = """
        -----BEGIN CERTIFICATE-----
        MIIDeTCCAiygAwIBAgIUEWzbgFgSxttNLFKFNsqunfLYAyUwQgYJKoZIhvcNAQEK
        MDWgDzANBglghkgBZQMEAgMFAKEcMBoGCSqGSIb3DQEBCDANBglghkgBZQMEAgMF
        AKIEAgIAvjAWMRQwEgYDVQQDDAtleGFtcGxlLm9yZzAgFw0yNjExMjEwMDAzMDla
        GA8yMTI2MTAyODAwMDMwOVowFjEUMBIGA1UEAwwLZXhhbXBsZS5vcmcwggEiMA0G
        CSqGSIb3DQEBAQUAA4IBDwAwggEKAoIBAQCaZQUX/UI/xwy4h0oCROQGIAGdImR2
        oWOjXpLPmvIa4sQMZ91/pBle/IV0TQW9qzny1rmzaF7pWxiGxzzvAyakOMzuO55N
        uou9vaclexf3AI/BybfvJdRe9ehxpQ1ib8EZACleP2Eed6UaCrsV+qIt7ScWSpaz
        ydbQB61Kh3juZtPgdPs0wghAxTQIQgz3FJCIlTUXtUnmZkosjDW8MI8rnXjHgQb4
        +k9hszZBzrlQoHTPcabepNX0u4JB7qRkyEy+8XaqFGMZl6vdoMz3xh9xC1d9bwyO
        esGsCPOSXHZHLD0+Gyaa0PRSQUx4S1d3ppex50Jr0R7DqZG22e+wfUMjAgMBAAGj
        UzBRMB0GA1UdDgQWBBRR0N82Fbtt0zpaX8o7xM030iM2+DAfBgNVHSMEGDAWgBRR
        0N82Fbtt0zpaX8o7xM030iM2+DAPBgNVHRMBAf8EBTADAQH/MEIGCSqGSIb3DQEB
        CjA1oA8wDQYJYIZIAWUDBAIDBQChHDAaBgkqhkiG9w0BAQgwDQYJYIZIAWUDBAID
        BQCiBAICAL4DggEBAHjyc91LYC9MTDHcWlCWToW2A5DqZtgNd/A99fOB91ka64D+
        jp8gnJd70Bz/U4+UGAJO/bA7LABPXXbleZwtDc78AqFBwS4jnF4moTlzN0rf7xYz
        eMKxHBRg1VEpmeugVg7fuhKvOwLPJYf6WUWfxboZI6vzHQUPHIYzaq1wJus/182q
        7pMpmv6ZNWLZzJuNKIbPOU4EC3SB/pyLqDf1+3EafDDVqY5ybcoiChEPRa1LQeCO
        llIwI8MyZ4boJUa0GEds6vJHCqF1uoM4lEmhEa3aS1mEF2pS4u8znSjycuvR+hQ0
        9Wu5oq76xdmgW2tuHNL/mL1++mpkzm/MlIYVS/w=
        -----END CERTIFICATE-----

        """

    /// Ed25519.
    static let ed25519 = """
        -----BEGIN CERTIFICATE-----
        MIIBQjCB9aADAgECAhRfVJujv9Z95eNLeXL3V72pTfZORzAFBgMrZXAwFjEUMBIG
        A1UEAwwLZXhhbXBsZS5vcmcwIBcNMjYxMTIxMDAwMzA5WhgPMjEyNjEwMjgwMDAz
        MDlaMBYxFDASBgNVBAMMC2V4YW1wbGUub3JnMCowBQYDK2VwAyEAtNChIlcr6JUk
        DF6Efl4KePMI9ATSdzpzqitwXpDZ6wyjUzBRMB0GA1UdDgQWBBREGZrLkngkOKw9
        x5j8mVn1GO81RDAfBgNVHSMEGDAWgBREGZrLkngkOKw9x5j8mVn1GO81RDAPBgNV
        HRMBAf8EBTADAQH/MAUGAytlcANBAPrcvEYcgP56vT0/+50yy+Pbj4h89k9o0dEN
        aN3N1hnMJcEXlCQVH9fOyp0bgX295nVpHEln0xg2ihcQQCfj0QY=
        -----END CERTIFICATE-----

        """

    /// What `openssl x509 -fingerprint -sha256` says of it.
    static let ed25519Fingerprint =
        "C6:47:B2:93:1C:A3:A7:D1:58:35:8D:B8:5F:0A:0B:EA:"
        + "19:AA:7C:7F:08:72:79:82:8D:85:96:6D:3D:9D:C3:16"

    /// P-256, protected by a password.
    static let encryptedKey = """
        -----BEGIN ENCRYPTED PRIVATE KEY-----
        MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiix5wGiVf3igICCAAw
        DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEMYCgiiq79iNDvxPVcuaT1YEgZDO
        P7ajDjKofrQdWx0/dal3c9BJdmbZu+/5tSuuNlLWTsR27g3p6Zw37JQ4omxF1WaN
        wRQuPRv+Nv8yg/clVzlLo93mDfvjGCESTr4wJJz60n7o3Q5gJSEpavOxQxKPwclV
        nF1+qMQyMjWhgwVGkqNltjclIHSHvNQ16QA5Zl7WHHEtV5gl0h5nOMLiSi+yFx0=
        -----END ENCRYPTED PRIVATE KEY-----

        """
}
