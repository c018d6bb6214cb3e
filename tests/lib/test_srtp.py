"""SRTP in Python against the vectors of its standards."""

from .srtp import Aes128, Sender


def test_aes_as_in_fips_197():
    cipher = Aes128(bytes(range(16)))
    assert cipher.encrypt(bytes.fromhex("00112233445566778899aabbccddeeff")).hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"


def test_counter_mode_as_in_rfc_3711_b_2():
    cipher = Aes128(bytes.fromhex("2B7E151628AED2A6ABF7158809CF4F3C"))
    start = int("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000", 16)
    assert cipher.stream(start, 32).hex().upper() == "E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB"


def test_keys_as_in_rfc_3711_b_3():
    sender = Sender(bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE4139" "0EC675AD498AFEEBB6960B3AABE6"))
    assert sender.cipher.rounds[0] == list(bytes.fromhex("C61E7A93744F39EE10734AFE3FF7A087"))
    assert f"{sender.salt:028X}" == "30CBBC08863D8C85D49DB34A9AE1"
    assert sender.authentication.hex().upper() == "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"
