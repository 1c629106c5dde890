#!/usr/bin/env python3
"""reader KEYFILE STORE | reader KEYFILE --backup FILE: a second reader of kist's format, written from docs/format.md alone.

Prints every live record as a line of JSON: bucket (name, or id without one), key and value in base64, type, revision,
expires_ms. KEYFILE holds 32 raw bytes. It shares no code with kist: what it needs of libsodium it calls through ctypes.
Any damage ends it with a sentence and exit status 1. It takes no locks, so nobody may be writing. A value that was
torn by a crash in a frame that is otherwise whole is damage to it, too: it mends nothing.
"""
import base64
import ctypes
import json
import os
import re
import struct
import sys
import time

KINDS = {1: 'COMMIT', 2: 'MANIFEST', 3: 'SWITCH', 4: 'MARK', 5: 'END'}
TYPES = ['raw', 'int', 'float', 'json']

sodium = ctypes.CDLL('libsodium.so.23')
if sodium.sodium_init() < 0:
    sys.exit('libsodium does not start')


class Damage(Exception):
    pass


def need(condition, sentence):
    if not condition:
        raise Damage(sentence)


# -- "Conventions": the primitives --

def size(n):
    return ctypes.c_ulonglong(n)


def blake2b(n, key, message, salt=None, personal=None):
    out = ctypes.create_string_buffer(n)
    r = sodium.crypto_generichash_blake2b_salt_personal(out, ctypes.c_size_t(n), message, size(len(message)), key,
                                                        ctypes.c_size_t(len(key or b'')), salt, personal)
    assert r == 0
    return out.raw


def kdf(n, key, context, number):
    out = ctypes.create_string_buffer(n)
    r = sodium.crypto_kdf_derive_from_key(out, ctypes.c_size_t(n), ctypes.c_uint64(number), context, key)
    assert r == 0
    return out.raw


def siphash(key, message):
    out = ctypes.create_string_buffer(8)
    sodium.crypto_shorthash_siphash24(out, message, size(len(message)), key)
    return struct.unpack('<Q', out.raw)[0]


def xcp_open(key, nonce, ad, sealed):
    out = ctypes.create_string_buffer(max(1, len(sealed) - 16))
    r = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(out, None, None, sealed, size(len(sealed)), ad, size(len(ad)),
                                                          nonce, key)
    return out.raw[:len(sealed) - 16] if r == 0 else None


# -- "Seal" --

def unseal(suite, key, nonce, counter, ad, sealed, tag):
    subkey = ctypes.create_string_buffer(32)
    sodium.crypto_core_hchacha20(subkey, nonce[:16], key, None)
    part = struct.pack('<I', counter) + nonce[16:]
    out = ctypes.create_string_buffer(max(1, len(sealed)))
    if suite == 1:
        f = sodium.crypto_aead_chacha20poly1305_ietf_decrypt_detached
    else:
        need(sodium.crypto_aead_aes256gcm_is_available(), 'this machine cannot do suite 2')
        f = sodium.crypto_aead_aes256gcm_decrypt_detached
    r = f(out, None, sealed, size(len(sealed)), tag, ad, size(len(ad)), part, subkey.raw)
    return out.raw[:len(sealed)] if r == 0 else None


class Bytes:
    """A cursor over bytes that never runs past their end."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, n):
        need(n <= len(self.data) - self.at, 'something is cut short')
        self.at += n
        return self.data[self.at - n:self.at]

    def left(self):
        return len(self.data) - self.at

    def number(self, form):
        return struct.unpack('<' + form, self.take(struct.calcsize('<' + form)))[0]

    def varint(self):
        value = 0
        for i in range(10):
            b = self.take(1)[0]
            need(i == 0 or b != 0, 'a varint that is not the shortest')
            value |= (b & 0x7f) << (7 * i)
            if b < 0x80:
                need(value < 1 << 64, 'a varint that is too large')
                return value
        raise Damage('a varint that is too long')


# -- "Keys", "Header file" --

def slot_key_raw(raw, salt, personal=b'kist raw key'):
    return blake2b(32, raw, b'', salt, personal.ljust(16, b'\0'))


def slot_open(slot, raw, store_id):
    """The root key, or None when it is not this slot's key."""
    key = slot_key_raw(raw, slot[32:48])
    if kdf(32, key, b'kistslot', 2) != slot[80:112]:
        return None
    root = xcp_open(kdf(32, key, b'kistslot', 1), slot[112:136], store_id + slot[:112], slot[136:184])
    need(root is not None, 'the right key, but its slot was changed')
    return root


class Header:
    def __init__(self, data, raw):
        need(data[:8] == b'KISTHEAD', 'not the header of a store')
        need(len(data) >= 1656 and struct.unpack_from('<H', data, 8)[0] == 1, 'a header of another version')
        need(struct.unpack_from('<I', data, 12)[0] == len(data), 'the header has another length than it says')
        need(blake2b(16, None, data[:-48]) == data[-48:-32], "the header's checksum is wrong")
        self.suite = data[10]
        need(self.suite in (1, 2) and data[11] == 0, 'an unknown suite or flag')
        self.store_id = data[16:32]
        n = struct.unpack_from('<I', data, 1520)[0]
        need(1 <= n <= 64 and len(data) == 1612 + 44 * n, 'the header does not fit its data keys')
        slots = [data[48 + 184 * i:48 + 184 * (i + 1)] for i in range(8)]
        roots = [r for r in (slot_open(s, raw, self.store_id) for s in slots if s[0] == 1) if r]
        need(roots, 'no key slot opens with this key')
        self.root = roots[0]
        need(blake2b(32, kdf(32, self.root, b'kisthead', 2), data[:-32]) == data[-32:], 'the header was changed')
        keys = xcp_open(kdf(32, self.root, b'kisthead', 1), data[1524:1548], data[:1524], data[1548:1564 + 44 * n])
        need(keys is not None, 'the list of data keys does not open')
        self.data_keys = {}
        newest = 0
        for i in range(n):
            generation, _, key = struct.unpack_from('<IQ32s', keys, 44 * i)
            need(generation > newest, 'generations do not ascend')
            newest = generation
            self.data_keys[generation] = key
        self.check_key = kdf(16, self.root, b'kistchck', 1)


# -- "Segment", "Frame" --

class Segment:
    def __init__(self, header, path, number):
        with open(path, 'rb') as f:
            self.data = f.read()
        self.header = header
        self.number = number
        p = self.data[:64]
        need(len(p) == 64 and p[:8] == b'KISTSEG1', f'{path}: no header')
        version, self.kind, suite, self.generation = struct.unpack_from('<HBBI', p, 8)
        need(version == 1, f'{path}: another version')
        stored, self.birth, _, check = struct.unpack_from('<QQQQ', p, 32)
        need(siphash(header.check_key, p[:56]) == check, f'{path}: the check of the header is wrong')
        need(p[16:32] == header.store_id and stored == number, f'{path}: of another store, or another segment')
        need(suite == header.suite and self.kind in (1, 2), f'{path}: suite or kind')
        need(self.generation in header.data_keys, f'{path}: an unknown data key')
        self.key = header.data_keys[self.generation]

    def frame_header(self, at):
        """(length, block length, kind, sequence, synced), or None when there is no authentic one."""
        p = self.data[at:at + 80]
        if len(p) < 80 or p[:4] != b'KFRM':
            return None
        if siphash(self.header.check_key, p[:56] + struct.pack('<Q', self.number)) != struct.unpack_from('<Q', p, 56)[0]:
            return None
        length, block, kind, sequence, synced = struct.unpack_from('<IIIQQ', p, 4)
        if length % 8 or length < 80 or block > length - 80 or kind not in KINDS:
            return None
        return length, block, kind, sequence, synced

    def frames(self):
        """(offset, kind, sequence, opened block, end, tag) of each whole frame from the first on."""
        at, previous = 64, bytes(16)
        expected = None
        while True:
            h = self.frame_header(at)
            if h is None or at + h[0] > len(self.data):
                return
            length, n, kind, sequence, _ = h
            p = self.data[at:at + 80]
            ad = self.header.store_id + struct.pack('<Q', self.number) + previous + p[:64]
            block = unseal(self.header.suite, self.key, p[32:56], 0, ad, self.data[at + 80:at + 80 + n], p[64:80])
            if block is None or expected not in (None, sequence):
                return
            previous = p[64:80]
            expected = sequence + 1
            yield at, KINDS[kind], sequence, block, at + length, previous
            at += length

    def operations(self, at, sequence, block, end):
        """(kind, bucket, key, revision, type, expiry, value) of each operation of a COMMIT."""
        nonce = self.data[at + 32:at + 56]
        b = Bytes(block)
        bucket, value_at = 0, at + 80 + len(block)
        while b.left():
            flags = b.take(1)[0]
            kind = flags & 3
            need(kind, 'an operation of no kind')
            bucket = b.varint() if flags & 0x40 else bucket
            revision = b.varint() if flags & 0x80 else sequence
            key, expiry, value = b'', 0, None
            if kind != 3:
                key = b.take(b.varint())
                need(1 <= len(key) <= 4096, 'the length of a key')
            if kind == 2:
                b.varint()  # the shadow matters to compaction only
            if kind == 1:
                expiry = b.number('Q') if flags & 0x20 else 0
                n, tag = b.varint(), b.take(16)
                need(value_at + n + 16 <= end, 'a value that reaches beyond its frame')
                need(self.data[value_at + n:value_at + n + 16] == tag, 'the two tags of a value differ')
                value = unseal(self.header.suite, self.key, nonce, value_at - at,
                               self.header.store_id + struct.pack('<Q', revision), self.data[value_at:value_at + n], tag)
                need(value is not None, 'a value does not open')
                value_at += n + 16
            yield kind, bucket, key, revision, flags >> 2 & 7, expiry, value
        need(value_at + -value_at % 8 == end, 'values and length of a frame differ')


# -- "Payloads" --

def read_rows(b):
    rows = {}
    for _ in range(b.varint()):
        number, kind, generation = b.varint(), b.number('B'), b.number('I')
        birth, first, last, end = b.varint(), b.varint(), b.varint(), b.varint()
        need(1 <= number < 1 << 32 and end >= 64, 'a row that cannot be')
        rows[number] = (kind, generation, birth, first, last, end, b.take(16))
    return rows


# -- "Reading a store" --

class Store:
    def __init__(self, path, raw):
        self.path = path
        with open(os.path.join(path, 'header'), 'rb') as f:
            self.header = Header(f.read(), raw)
        self.find_active()
        self.list_segments()
        self.records = {}
        self.dropped = set()

    def segment(self, number):
        return Segment(self.header, os.path.join(self.path, f'{number:012}.log'), number)

    def find_active(self):
        numbers = [int(n[:12]) for n in os.listdir(self.path) if re.fullmatch(r'\d{12}\.log', n)]
        for number in sorted(numbers, reverse=True):
            self.active = self.segment(number)
            if self.active.kind == 1:
                return
        raise Damage('there is no segment with a manifest')

    def list_segments(self):
        self.rows = None
        at = 64
        for at, kind, _, block, end, _ in self.active.frames():
            b = Bytes(block)
            if self.rows is None:
                need(kind == 'MANIFEST', 'the active segment does not begin with a manifest')
                self.rows = read_rows(b)
            elif kind == 'SWITCH':
                rows = read_rows(b)
                need(not rows.keys() & self.rows.keys(), 'a segment comes that is there already')
                self.rows.update(rows)
                for _ in range(b.varint()):
                    need(self.rows.pop(b.varint(), None), 'a segment goes that was not there')
            else:
                continue
            need(b.left() == 0, 'bytes behind a list of segments')
        need(self.rows is not None, 'the active segment does not begin with a manifest')

    def apply(self, kind, bucket, key, revision, record):
        if kind == 3:
            need(bucket != 0, 'the catalog was dropped')
            self.dropped.add(bucket)
            return
        old = self.records.get((bucket, key))
        if old is None or revision > old[0] or (revision == old[0] and kind == 2):
            self.records[bucket, key] = (revision, record if kind == 1 else None)

    def replay(self, segment, row):
        """All of a segment; returns its first and last sequence."""
        first = last = 0
        end, tag = 64, bytes(16)
        for at, kind, sequence, block, end, tag in segment.frames():
            first, last = first or sequence, sequence
            if kind == 'COMMIT':
                for k, bucket, key, revision, kind_of, expiry, value in segment.operations(at, sequence, block, end):
                    self.apply(k, bucket, key, revision, (kind_of, expiry, value))
            if row and end == row[5]:
                break
        if row:
            need((segment.kind, segment.generation, first, last, end, tag) == (*row[:2], *row[3:]),
                 f'segment {segment.number} is not the one that the manifest names')
            need(segment.kind == 2 or segment.birth == row[2], 'the birth of a segment')
        return first, last

    def read(self):
        sequence = 0
        for number in sorted(self.rows):
            s = self.segment(number)
            first, last = self.replay(s, self.rows[number])
            if s.kind == 1:
                need(first > sequence, 'the sequence goes back')  # a restored increment may leave a gap
                sequence = last
        first, last = self.replay(self.active, None)
        need(first > sequence, 'the sequence goes back')
        self.judge(last + 1)

    # -- "Recovery": what is behind the last whole frame is torn, unless something proves that it was durable --

    def judge(self, after):
        tail = max(end for _, _, _, _, end, _ in self.active.frames())
        for at in range(64, len(self.active.data), 8):
            h = self.active.frame_header(at)
            need(h is None or h[4] < after, f'a frame at {tail} that was durable is missing or damaged')
        need(self.lock_durable() < after, f'a frame at {tail} that the lock page knows to be durable is missing or damaged')

    def lock_durable(self):
        try:
            with open(os.path.join(self.path, 'lock'), 'rb') as f:
                p = f.read(4096)
        except FileNotFoundError:
            return 0
        if len(p) < 112 or p[:8] != b'KISTLOCK' or p[8:24] != self.header.store_id:
            return 0
        durable, check = struct.unpack_from('<QQ', p, 96)
        return durable if siphash(self.header.check_key, p[8:24] + p[96:104]) == check else 0

    def live(self):
        for (bucket, key), (revision, record) in sorted(self.records.items()):
            if record and bucket not in self.dropped:
                yield bucket, key, revision, *record


# -- "Catalog" --

def bucket_name(value):
    need(len(value) >= 39 and value[0] == 1, 'a record about a bucket')
    return (value[39:] or value[17:39]).decode()


def print_records(records):
    records = list(records)
    names = {struct.unpack('>Q', key[1:])[0]: bucket_name(value)
             for bucket, key, _, _, _, value in records if bucket == 0 and key[:1] == b'b'}
    now = time.time() * 1000
    for bucket, key, revision, kind, expiry, value in records:
        if bucket == 0 or (expiry and expiry <= now):
            continue
        print(json.dumps({'bucket': names[bucket], 'key': base64.b64encode(key).decode(),
                          'value': base64.b64encode(value).decode(), 'type': TYPES[kind & 3], 'revision': revision,
                          'expires_ms': expiry}))


# -- "Sealed streams", "Backup" --

def stream_read(data, magic, key, kind):
    """Context and plaintext of a whole stream under a raw or direct key."""
    need(data[:8] == magic and struct.unpack_from('<H', data, 8)[0] == 1, 'not such a stream')
    n, = struct.unpack_from('<I', data, 12)
    need(160 <= n <= 416 and len(data) >= n and data[10:12] == bytes([1, kind]), 'the header of a stream')
    head, mac = data[:n - 32], data[n - 32:n]
    need(blake2b(16, None, head[:-16]) == head[-16:], "the stream's checksum is wrong")
    c, = struct.unpack_from('<H', data, 104)
    need(c == n - 160 and data[106:112] == bytes(6), 'the header of a stream')
    slot = slot_key_raw(key, data[32:48], {1: b'kist raw key', 3: b'kist direct key'}[kind])
    need(kdf(32, slot, b'kiststrm', 2) == data[48:80], 'the stream has another key')
    need(blake2b(32, kdf(32, slot, b'kiststrm', 3), head) == mac, 'the header of a stream was changed')
    state = ctypes.create_string_buffer(sodium.crypto_secretstream_xchacha20poly1305_statebytes())
    sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, data[80:104], kdf(32, slot, b'kiststrm', 1))
    b = Bytes(data[n:])
    plain, tag = [], ctypes.c_ubyte(0)
    while tag.value != 3:
        prefix = b.take(4)
        m, = struct.unpack('<I', prefix)
        need(17 <= m <= 65553, 'the length of a chunk')
        out = ctypes.create_string_buffer(m - 17 or 1)
        r = sodium.crypto_secretstream_xchacha20poly1305_pull(state, out, None, ctypes.byref(tag), b.take(m), size(m),
                                                              mac + prefix, size(36))
        need(r == 0 and (tag.value == 3 or (tag.value == 0 and m > 17)), 'a chunk does not open')
        plain.append(out.raw[:m - 17])
    need(b.left() == 0, 'bytes behind the stream')
    return data[112:112 + c], b''.join(plain)


def backup_record(b):
    return Bytes(b.take(b.number('H')))


def read_backup(path, raw):
    with open(path, 'rb') as f:
        data = f.read()
    need(data[:8] == b'KISTBACK' and data[8:12] == b'\1\0\0\0', 'not a backup')
    n = 16 + struct.unpack_from('<I', data, 12)[0]
    header = Header(data[16:n], raw)
    context, plain = stream_read(data[n:], b'KISTBKUP', kdf(32, header.root, b'kistbkup', 1), 3)
    need(context == blake2b(32, None, data[:n]), 'the stream is of another header')
    b = Bytes(plain)
    head = backup_record(b)
    since, revision, _ = head.varint(), head.varint(), head.take(16)
    need(since <= revision and head.left() == 0, 'the head of a backup')
    seen, last = [0, 0, 0, 0], b''
    while True:
        r = backup_record(b)
        kind = r.number('B')
        need(kind <= 3, 'a record of a backup')
        if kind == 0:
            need([r.varint() for _ in range(4)] == seen[1:] + [revision] and not r.left() and not b.left(), 'the counts')
            return
        seen[kind] += 1
        bucket, rev = r.varint(), r.varint()
        key = r.take(r.varint()) if kind != 3 else b''
        need(last < struct.pack('>Q', bucket) + key and (kind == 3 or (kind == 1) == (rev > since)), 'the order of a backup')
        last = struct.pack('>Q', bucket) + key
        need(last != bytes(8) + b'l', "a store's own record in a backup")
        if kind == 1:
            kind_of, expiry, length = r.number('B'), r.number('Q'), r.varint()
            yield bucket, key, rev, kind_of, expiry, b.take(length)
        need(r.left() == 0, 'bytes behind a record')


def main():
    with open(sys.argv[1], 'rb') as f:
        raw = f.read()
    if sys.argv[2] == '--backup':
        print_records(read_backup(sys.argv[3], raw))
        return
    store = Store(sys.argv[2], raw)
    store.read()
    print_records(store.live())


try:
    main()
except Damage as e:
    sys.exit(f'reader: {e}')
