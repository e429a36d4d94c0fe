# SPDX-License-Identifier: Apache-2.0
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, embedsignature=True
"""The term codec compiled with Cython: the twin of `_codec_pure`, with the same interface.

Runs in the thread that calls, under the GIL throughout. Longer than a file should be, because one
extension module is made of one source and its hot functions have to be inlined into each other.

Encoding writes into a scratch buffer that is taken from, and given back to, one module variable:
an encoding inside an encoding, or one that another thread starts while Python code runs inside
ours, finds none there and makes its own. Large binaries are not copied into it but noted as
segments and copied once, into the result.

Decoding believes nothing: a count is held against the bytes that are left before memory is asked
for, and containers are charged to a budget. Keys of maps and atoms are looked up in small caches,
so that those that come again and again are made and hashed once.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next, PyDict_SetItem, PyDict_Size
from cpython.exc cimport PyErr_Clear, PyErr_ExceptionMatches
from cpython.float cimport PyFloat_AS_DOUBLE
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE, PyList_New, PyList_SET_ITEM
from cpython.long cimport PyLong_FromLong, PyLong_FromLongLong, PyLong_FromUnsignedLongLong
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_New, PyTuple_SET_ITEM
from libc.math cimport isfinite
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy

from . import _codec_common as common
from ._codec_common import ArrayParts, Raw, Unencodable, adapt, contiguous
from ._codec_explain import explain
from ._fields import HTTP_VERSIONS
from .errors import TermError
from .terms import Atom, BitString, Fun, ImproperList, Pid, Port, Ref

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object, int*) except? -1
    unsigned long long PyLong_AsUnsignedLongLong(object) except? 0xFFFFFFFFFFFFFFFF
    const char* PyUnicode_AsUTF8AndSize(object, Py_ssize_t*) except NULL
    object PyUnicode_DecodeUTF8(const char*, Py_ssize_t, const char*)
    object PyUnicode_DecodeLatin1(const char*, Py_ssize_t, const char*)
    PyObject* DecodeUTF8 "PyUnicode_DecodeUTF8"(const char*, Py_ssize_t, const char*)
    bint PyUnicode_IS_ASCII(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    void* PyUnicode_DATA(object)
    PyObject* PyExc_UnicodeDecodeError

__all__ = ["NAME", "decode", "decode_wire", "encode", "encode_wire", "encode_wire_packet", "encode_wire_parts",
           "expand", "is_open"]

NAME = "compiled"

ctypedef const unsigned char* octets

cdef enum:
    KEPT = 1 << 20      # bytes of scratch that are kept between calls
    FIRST = 4096        # bytes of scratch to begin with
    SEGMENT = 16384     # bytes from which on a binary is copied once only
    CACHE = 1024        # entries of a cache: the ten highest bits of a hash
    CACHED = 64         # bytes of the longest text in a cache

cdef int MAX_DEPTH = common.MAX_DEPTH
cdef int DEPTH_CEILING = common.DEPTH_CEILING
cdef Py_ssize_t MAX_SIZE = common.MAX_SIZE
cdef Py_ssize_t MAX_PACKET = common.MAX_PACKET
cdef Py_ssize_t MEMORY_FACTOR = common.MEMORY_FACTOR
cdef int MAX_KEY_DEPTH = common.MAX_KEY_DEPTH
cdef Py_ssize_t COST_LIST = common.COST_LIST
cdef Py_ssize_t COST_TUPLE = common.COST_TUPLE
cdef Py_ssize_t COST_SLOT = common.COST_SLOT
cdef Py_ssize_t COST_DICT = common.COST_DICT
cdef Py_ssize_t COST_ENTRY = common.COST_ENTRY
cdef Py_ssize_t MAX_ATOM = 255
cdef int MAX_REF_WORDS = 5


# -- bytes in network order ----------------------------------------------------------------------

cdef inline uint32_t get16(octets p) noexcept:
    return (<uint32_t>p[0] << 8) | p[1]


cdef inline uint32_t get32(octets p) noexcept:
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | p[3]


cdef inline uint64_t get64(octets p) noexcept:
    return (<uint64_t>get32(p) << 32) | get32(p + 4)


cdef inline void set32(unsigned char* p, uint32_t n) noexcept:
    p[0] = n >> 24
    p[1] = (n >> 16) & 0xFF
    p[2] = (n >> 8) & 0xFF
    p[3] = n & 0xFF


# -- the writer ----------------------------------------------------------------------------------

cdef struct Segment:
    Py_ssize_t at       # position in the scratch before which the bytes belong
    Py_buffer view

cdef struct Writer:
    unsigned char* buf
    Py_ssize_t pos
    Py_ssize_t cap
    Py_ssize_t limit
    int max_depth
    bint wire
    Segment* segments
    Py_ssize_t segment_count
    Py_ssize_t segment_cap
    Py_ssize_t segment_bytes

cdef unsigned char* scratch = NULL
cdef Py_ssize_t scratch_cap = 0


cdef int writer_open(Writer* w, bint wire, int max_depth, Py_ssize_t limit) except -1:
    global scratch, scratch_cap
    w.pos = 0
    w.limit = limit
    w.max_depth = max_depth
    w.wire = wire
    w.segments = NULL
    w.segment_count = w.segment_cap = w.segment_bytes = 0
    if scratch != NULL:
        w.buf = scratch
        w.cap = scratch_cap
        scratch = NULL
        return 0
    w.buf = <unsigned char*>malloc(FIRST)
    w.cap = FIRST
    if w.buf == NULL:
        raise MemoryError
    return 0


cdef void writer_close(Writer* w) noexcept:
    global scratch, scratch_cap
    cdef Py_ssize_t i
    for i in range(w.segment_count):
        PyBuffer_Release(&w.segments[i].view)
    free(w.segments)
    if scratch == NULL and w.cap <= KEPT:
        scratch = w.buf
        scratch_cap = w.cap
    else:
        free(w.buf)


cdef int grow(Writer* w, Py_ssize_t size) except -1:
    """Makes room; the limit is looked at here, and once more when all is written."""
    cdef Py_ssize_t cap = w.cap
    cdef unsigned char* buf
    if size > w.limit - w.pos - w.segment_bytes + FIRST:
        raise Unencodable
    while cap < w.pos + size:
        cap *= 2
    buf = <unsigned char*>realloc(w.buf, cap)
    if buf == NULL:
        raise MemoryError
    w.buf = buf
    w.cap = cap
    return 0


cdef inline int room(Writer* w, Py_ssize_t size) except -1:
    if size > w.cap - w.pos:
        return grow(w, size)
    return 0


cdef inline int put_raw(Writer* w, const char* data, Py_ssize_t size) except -1:
    room(w, size)
    memcpy(w.buf + w.pos, data, size)
    w.pos += size
    return 0


cdef inline int put_head(Writer* w, unsigned char tag, Py_ssize_t count) except -1:
    if count > 0xFFFFFFFF:
        raise Unencodable
    room(w, 5)
    w.buf[w.pos] = tag
    set32(w.buf + w.pos + 1, <uint32_t>count)
    w.pos += 5
    return 0


cdef int put_segment(Writer* w, object owner, void* data, Py_ssize_t size) except -1:
    """Notes the memory of a large binary; it is copied when the result is made.

    `data` is memory that stays where it is while its owner lives; NULL: ask the owner for it.
    """
    cdef Segment* segments
    cdef Segment* segment
    if size > w.limit - w.pos - w.segment_bytes:
        raise Unencodable
    if w.segment_count == w.segment_cap:
        w.segment_cap = w.segment_cap * 2 + 4
        segments = <Segment*>realloc(w.segments, w.segment_cap * sizeof(Segment))
        if segments == NULL:
            raise MemoryError
        w.segments = segments
    segment = &w.segments[w.segment_count]
    if data == NULL:
        PyObject_GetBuffer(owner, &segment.view, PyBUF_SIMPLE)
    else:
        PyBuffer_FillInfo(&segment.view, owner, data, size, True, PyBUF_SIMPLE)
    segment.at = w.pos
    w.segment_count += 1
    w.segment_bytes += segment.view.len
    return 0


cdef object writer_result(Writer* w):
    cdef Py_ssize_t total = w.pos + w.segment_bytes, done = 0, i
    cdef char* to
    cdef Segment* segment
    if total > w.limit:
        raise Unencodable
    if w.segment_count == 0:
        return PyBytes_FromStringAndSize(<char*>w.buf, total)
    result = PyBytes_FromStringAndSize(NULL, total)
    to = PyBytes_AS_STRING(result)
    for i in range(w.segment_count):
        segment = &w.segments[i]
        memcpy(to, w.buf + done, segment.at - done)
        to += segment.at - done
        done = segment.at
        memcpy(to, segment.view.buf, segment.view.len)
        to += segment.view.len
    memcpy(to, w.buf + done, w.pos - done)
    return result


cdef list writer_parts(Writer* w):
    cdef Py_ssize_t done = 0, i
    cdef Segment* segment
    cdef list parts = []
    if w.pos + w.segment_bytes > w.limit:
        raise Unencodable
    for i in range(w.segment_count):
        segment = &w.segments[i]
        parts.append(PyBytes_FromStringAndSize(<char*>w.buf + done, segment.at - done))
        done = segment.at
        owner = <object>segment.view.obj
        if type(owner) is bytes and PyBytes_GET_SIZE(owner) == segment.view.len:
            parts.append(owner)
        else:  # it may change before it is written
            parts.append(PyBytes_FromStringAndSize(<char*>segment.view.buf, segment.view.len))
    if done < w.pos:
        parts.append(PyBytes_FromStringAndSize(<char*>w.buf + done, w.pos - done))
    return parts


# -- encoding ------------------------------------------------------------------------------------

cdef inline int put_binary(Writer* w, object owner, const char* data, Py_ssize_t size) except -1:
    put_head(w, 109, size)
    if size < SEGMENT:
        return put_raw(w, data, size)
    return put_segment(w, owner, <void*>data, size)


cdef inline int put_bytes(Writer* w, bytes value) except -1:
    if not w.wire:
        put_raw(w, b"h\x02w\x05bytes", 9)
    return put_binary(w, value, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))


cdef int put_buffer(Writer* w, object value) except -1:
    cdef Py_buffer view
    try:
        value = contiguous(value)
        PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
    except ValueError:  # a released memoryview
        raise Unencodable from None
    try:
        if not w.wire:
            put_raw(w, b"h\x02w\x05bytes", 9)
        put_head(w, 109, view.len)
        if view.len < SEGMENT:
            put_raw(w, <char*>view.buf, view.len)
        else:
            put_segment(w, value, NULL, view.len)
    finally:
        PyBuffer_Release(&view)
    return 0


cdef int put_str(Writer* w, object value) except -1:
    cdef Py_ssize_t size
    cdef const char* data = PyUnicode_AsUTF8AndSize(value, &size)
    return put_binary(w, value, data, size)


cdef int put_atom(Writer* w, object value) except -1:
    cdef Py_ssize_t size
    cdef const char* data = PyUnicode_AsUTF8AndSize(value, &size)
    room(w, 3 + size)
    if size < 256:
        w.buf[w.pos] = 119
        w.buf[w.pos + 1] = <unsigned char>size
        w.pos += 2
    else:
        w.buf[w.pos] = 118
        w.buf[w.pos + 1] = <unsigned char>(size >> 8)
        w.buf[w.pos + 2] = <unsigned char>(size & 0xFF)
        w.pos += 3
    return put_raw(w, data, size)


cdef int put_small_big(Writer* w, uint64_t magnitude, bint negative) except -1:
    cdef int size = 0
    room(w, 11)
    w.buf[w.pos] = 110
    w.buf[w.pos + 2] = negative
    while magnitude:
        w.buf[w.pos + 3 + size] = magnitude & 0xFF
        magnitude >>= 8
        size += 1
    w.buf[w.pos + 1] = size
    w.pos += 3 + size
    return 0


cdef int put_huge(Writer* w, object value) except -1:
    cdef bint negative = value < 0
    magnitude = -value if negative else value
    cdef Py_ssize_t size = (magnitude.bit_length() + 7) // 8
    if size > w.limit:
        raise Unencodable
    raw = magnitude.to_bytes(size, "little")
    if size < 256:
        room(w, 2)
        w.buf[w.pos] = 110
        w.buf[w.pos + 1] = <unsigned char>size
        w.pos += 2
    else:
        put_head(w, 111, size)
    room(w, 1)
    w.buf[w.pos] = negative
    w.pos += 1
    return put_raw(w, PyBytes_AS_STRING(raw), size)


cdef int put_int(Writer* w, object value) except -1:
    cdef int overflow = 0
    cdef long long n = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow:
        if not w.wire:
            return put_huge(w, value)
        try:
            return put_small_big(w, PyLong_AsUnsignedLongLong(value), False)
        except OverflowError:
            raise Unencodable from None
    if 0 <= n < 256:
        room(w, 2)
        w.buf[w.pos] = 97
        w.buf[w.pos + 1] = <unsigned char>n
        w.pos += 2
        return 0
    if -0x80000000LL <= n <= 0x7FFFFFFFLL:
        room(w, 5)
        w.buf[w.pos] = 98
        set32(w.buf + w.pos + 1, <uint32_t><int32_t>n)
        w.pos += 5
        return 0
    return put_small_big(w, <uint64_t>n if n > 0 else 0 - <uint64_t>n, n < 0)


cdef int put_float(Writer* w, object value) except -1:
    cdef double number = PyFloat_AS_DOUBLE(value)
    cdef uint64_t bits
    if not isfinite(number):
        raise Unencodable
    memcpy(&bits, &number, 8)
    room(w, 9)
    w.buf[w.pos] = 70
    set32(w.buf + w.pos + 1, <uint32_t>(bits >> 32))
    set32(w.buf + w.pos + 5, <uint32_t>bits)
    w.pos += 9
    return 0


cdef int put_list(Writer* w, list value, int depth) except -1:
    cdef Py_ssize_t size = PyList_GET_SIZE(value), i
    if size:
        if depth >= w.max_depth:
            raise Unencodable
        put_head(w, 108, size)
        for i in range(size):
            # Python code may run inside an element and shorten the list.
            if i >= PyList_GET_SIZE(value):
                raise TermError("a list changed its length while it was encoded")
            put(w, <object>PyList_GET_ITEM(value, i), depth + 1)
    room(w, 1)
    w.buf[w.pos] = 106
    w.pos += 1
    return 0


cdef int put_tuple(Writer* w, tuple value, int depth) except -1:
    cdef Py_ssize_t size = PyTuple_GET_SIZE(value), i
    if size < 256:
        room(w, 2)
        w.buf[w.pos] = 104
        w.buf[w.pos + 1] = <unsigned char>size
        w.pos += 2
    else:
        put_head(w, 105, size)
    if size and depth >= w.max_depth:
        raise Unencodable
    for i in range(size):
        put(w, <object>PyTuple_GET_ITEM(value, i), depth + 1)
    return 0


cdef int put_dict(Writer* w, dict value, int depth) except -1:
    cdef Py_ssize_t size = PyDict_Size(value), done = 0, pos = 0
    cdef PyObject* key
    cdef PyObject* item
    put_head(w, 116, size)
    if size and depth >= w.max_depth:
        raise Unencodable
    while PyDict_Next(value, &pos, &key, &item):
        # Python code may run inside a key and take the item away.
        owned = <object>item
        put(w, <object>key, depth + 1)
        put(w, owned, depth + 1)
        done += 1
    if done != size:
        raise TermError("a dict changed its size while it was encoded")
    return 0


cdef int put(Writer* w, object value, int depth) except -1:
    """One term. Exact types first; the rest, subclasses too, in `put_other`."""
    kind = type(value)
    if kind is bytes:
        return put_bytes(w, <bytes>value)
    if kind is str:
        if w.wire:
            raise Unencodable
        return put_str(w, value)
    if kind is int:
        return put_int(w, value)
    if kind is dict:
        return put_dict(w, <dict>value, depth)
    if kind is tuple:
        return put_tuple(w, <tuple>value, depth)
    if kind is list:
        return put_list(w, <list>value, depth)
    if value is None:
        return put_raw(w, b"w\x09undefined", 11)
    if value is True:
        return put_raw(w, b"w\x04true", 6)
    if value is False:
        return put_raw(w, b"w\x05false", 7)
    if kind is float and not w.wire:
        return put_float(w, value)
    if kind is bytearray or kind is memoryview:
        return put_buffer(w, value)
    return put_subclass(w, value, depth)


cdef int put_subclass(Writer* w, object value, int depth) except -1:
    if isinstance(value, bytes):
        return put_bytes(w, <bytes>value)
    if isinstance(value, int):
        return put_int(w, value)
    if isinstance(value, dict):
        return put_dict(w, <dict>value, depth)
    if isinstance(value, tuple):
        return put_tuple(w, <tuple>value, depth)
    if isinstance(value, list):
        return put_list(w, <list>value, depth)
    if isinstance(value, bytearray):
        return put_buffer(w, value)
    if w.wire:
        raise Unencodable
    if isinstance(value, Atom):
        return put_atom(w, value)
    if isinstance(value, str):
        return put_str(w, value)
    if isinstance(value, float):
        return put_float(w, value)
    return put_other(w, value, depth)


cdef int put_other(Writer* w, object value, int depth) except -1:
    if isinstance(value, ImproperList):
        return put_improper(w, value.elements, value.tail, depth)
    native = adapt(value)
    if isinstance(native, Raw):
        return put_external(w, native)
    if isinstance(native, ArrayParts):
        put_raw(w, b"h\x04w\x07ndarray", 11)
        put_str(w, native.dtype)
        put_tuple(w, native.shape, 0)
        view = memoryview(native.data)
        put_head(w, 109, view.nbytes)
        return put_segment(w, view, NULL, view.nbytes)
    return put(w, native, depth)


cdef int put_improper(Writer* w, tuple elements, object tail, int depth) except -1:
    if depth >= w.max_depth:
        raise Unencodable
    put_head(w, 108, PyTuple_GET_SIZE(elements))
    for element in elements:
        put(w, element, depth + 1)
    return put(w, tail, depth + 1)


cdef int put_external(Writer* w, object raw) except -1:
    cdef Py_ssize_t size = PyBytes_GET_SIZE(raw)
    cdef octets data = <octets>PyBytes_AS_STRING(raw)
    if not size or data[0] not in common.OPAQUE_TAGS or scan(data, 0, size) != size:
        raise Unencodable
    return put_raw(w, <char*>data, size)


cdef object run_writer(
    object value, bint wire, int prefix, int max_depth, Py_ssize_t max_size, bint parts=False
):
    cdef Writer w
    writer_open(&w, wire, max_depth, max_size + prefix)
    try:
        w.pos = prefix
        w.buf[prefix] = 131
        w.pos += 1
        put(&w, value, 0)
        if prefix:
            set32(w.buf, <uint32_t>(w.pos + w.segment_bytes - 4))
        return writer_parts(&w) if parts else writer_result(&w)
    except (Unencodable, UnicodeEncodeError):
        raise explain(value, wire=wire, max_depth=max_depth, max_size=max_size) from None
    finally:
        writer_close(&w)


cdef int check_limits(Py_ssize_t max_depth, Py_ssize_t max_size) except -1:
    if not 0 <= max_depth <= DEPTH_CEILING or max_size < 1:
        common.limits(max_depth, max_size)
    return 0


def encode(value, *, Py_ssize_t max_depth=MAX_DEPTH, Py_ssize_t max_size=MAX_SIZE):
    """The external term of an application's value; see `_codec_pure.encode`."""
    check_limits(max_depth, max_size)
    return run_writer(value, False, 0, max_depth, max_size)


def encode_wire(term, *, Py_ssize_t max_depth=MAX_DEPTH, Py_ssize_t max_size=MAX_PACKET):
    """The external term of a message; see `_codec_pure.encode_wire`."""
    check_limits(max_depth, max_size)
    return run_writer(term, True, 0, max_depth, max_size)


def encode_wire_packet(messages):
    """A packet that holds these messages; see `_codec_pure.encode_wire_packet`."""
    if not isinstance(messages, list) or not messages:
        raise TermError("a packet is a list of at least one message")
    return run_writer(messages, True, 4, MAX_DEPTH, MAX_PACKET)


def encode_wire_parts(messages):
    """The same packet in parts; see `_codec_pure.encode_wire_parts`."""
    if not isinstance(messages, list) or not messages:
        raise TermError("a packet is a list of at least one message")
    return run_writer(messages, True, 4, MAX_DEPTH, MAX_PACKET, True)


# -- the reader ----------------------------------------------------------------------------------

cdef struct Reader:
    octets data
    Py_ssize_t pos
    Py_ssize_t end
    Py_ssize_t owed     # terms that containers around here have yet to come, a byte each at least
    Py_ssize_t budget
    int max_depth
    int key_depth
    bint wire
    PyObject* source    # the object whose memory `data` is, borrowed

# Each of these three is direct-mapped: a text has one place, and the last one there wins.
cdef PyObject* str_cache[CACHE]
cdef PyObject* bytes_cache[CACHE]
cdef PyObject* atom_cache[CACHE]


cdef inline Py_ssize_t cache_slot(octets p, Py_ssize_t size) noexcept:
    cdef uint64_t head = 0, tail = 0
    cdef Py_ssize_t i
    if size >= 8:
        memcpy(&head, p, 8)
        memcpy(&tail, p + size - 8, 8)
    else:
        for i in range(size):
            head = (head << 8) | p[i]
    head = (head ^ (tail * 0x9E3779B97F4A7C15ULL) ^ <uint64_t>size) * 0xC2B2AE3D27D4EB4FULL
    return <Py_ssize_t>(head >> 54)


cdef inline bint same_text(object text, octets p, Py_ssize_t size) noexcept:
    return PyUnicode_GET_LENGTH(text) == size and memcmp(PyUnicode_DATA(text), p, size) == 0


cdef int fail(Reader* r, str what) except -1:
    raise TermError(f"{what}, at byte {r.pos}")


cdef int short(Reader* r) except -1:
    raise TermError(f"the bytes end inside a term, at byte {r.end}")


cdef inline octets take(Reader* r, Py_ssize_t size) except NULL:
    """The next `size` bytes, which are then behind the reader."""
    cdef octets p = r.data + r.pos
    if size > r.end - r.pos:
        short(r)
    r.pos += size
    return p


cdef inline int enter(Reader* r, Py_ssize_t count, int depth, Py_ssize_t cost) except -1:
    """Before a container with at least `count` bytes of elements is read."""
    if count > r.end - r.pos - r.owed:
        fail(r, f"a count of {count} is more than the bytes that follow")
    r.owed += count
    if depth >= r.max_depth:
        fail(r, f"nests deeper than {r.max_depth} levels")
    return charge(r, cost)


cdef inline int charge(Reader* r, Py_ssize_t cost) except -1:
    r.budget -= cost
    if r.budget < 0:
        fail(r, "would take too much memory")
    return 0


# -- decoding ------------------------------------------------------------------------------------

cdef object get(Reader* r, int depth):
    """One term. The commonest tags come first."""
    cdef unsigned int tag = take(r, 1)[0]
    cdef octets p
    if tag == 109:
        return get_binary(r)
    if tag == 97:
        return PyLong_FromLong(take(r, 1)[0])
    if tag == 98:
        return PyLong_FromLong(<int32_t>get32(take(r, 4)))
    if tag == 104:
        return get_tuple(r, take(r, 1)[0], depth)
    if tag == 116:
        return get_map(r, depth)
    if tag == 108:
        return get_list(r, depth)
    if tag == 119 or tag == 115 or tag == 100 or tag == 118:
        return get_atom(r, tag)
    if tag == 106:
        charge(r, COST_LIST)
        return []
    if tag == 107:
        return get_string(r)
    if tag == 110:
        return get_big(r, take(r, 1)[0])
    if tag == 105:
        return get_tuple(r, get32(take(r, 4)), depth)
    if not r.wire:
        return get_rare(r, tag)
    r.pos -= 1
    fail(r, f"tag {tag} is not known or not allowed here")


cdef object get_rare(Reader* r, unsigned int tag):
    """Tags of the value layer alone."""
    if tag == 70:
        return get_float(r)
    if tag == 111:
        return get_big(r, get32(take(r, 4)))
    if tag == 77:
        return get_bits(r)
    if tag == 88 or tag == 103:
        return get_pid(r, tag)
    if tag == 89 or tag == 102 or tag == 120:
        return get_port(r, tag)
    if tag == 90 or tag == 114:
        return get_reference(r, tag)
    if tag == 101:
        return get_old_reference(r)
    if tag == 112 or tag == 113 or tag == 117:
        return get_fun(r, tag)
    if tag == 99:
        return common.old_float(PyBytes_FromStringAndSize(<char*>take(r, 31), 31))
    r.pos -= 1
    fail(r, f"tag {tag} is not known or not allowed here")


cdef object get_float(Reader* r):
    cdef uint64_t bits = get64(take(r, 8))
    cdef double number
    memcpy(&number, &bits, 8)
    if not isfinite(number):
        fail(r, "a float is not finite")
    return number


cdef object get_big(Reader* r, Py_ssize_t size):
    cdef unsigned char sign
    cdef octets p
    cdef uint64_t magnitude = 0
    cdef Py_ssize_t i
    if r.wire and size > 8:
        fail(r, f"an integer of {size} bytes is more than 64 bits")
    sign = take(r, 1)[0]
    if sign > 1:
        fail(r, f"the sign of an integer is 0 or 1, not {sign}")
    if size > 8:
        raw = PyBytes_FromStringAndSize(<char*>take(r, size), size)
        number = int.from_bytes(raw, "little")
        return -number if sign else number
    p = take(r, size)
    for i in range(size):
        magnitude |= <uint64_t>p[i] << (8 * i)
    if not sign:
        return PyLong_FromUnsignedLongLong(magnitude)
    if magnitude <= 0x8000000000000000ULL:
        return PyLong_FromLongLong(<long long>(0 - magnitude))
    if r.wire:
        fail(r, "a negative integer is more than 64 bits")
    return -PyLong_FromUnsignedLongLong(magnitude)


cdef object get_atom(Reader* r, unsigned int tag):
    cdef Py_ssize_t size = take(r, 1)[0] if tag == 119 or tag == 115 else get16(take(r, 2))
    cdef octets p = take(r, size)
    if size == 4 and memcmp(p, b"true", 4) == 0:
        return True
    if size == 5 and memcmp(p, b"false", 5) == 0:
        return False
    if size == 9 and memcmp(p, b"undefined", 9) == 0:
        return None
    if r.wire:
        text = atom_text(r, tag, p, size)
        fail(r, f"the atom {text!r} is not allowed in a message")
    if size == 3 and memcmp(p, b"nil", 3) == 0:
        return None
    return make_atom(r, tag, p, size)


cdef object atom_text(Reader* r, unsigned int tag, octets p, Py_ssize_t size):
    if tag == 100 or tag == 115:
        text = PyUnicode_DecodeLatin1(<char*>p, size, NULL)
    else:
        try:
            text = PyUnicode_DecodeUTF8(<char*>p, size, NULL)
        except UnicodeDecodeError:
            fail(r, "an atom is not UTF-8")
    if PyUnicode_GET_LENGTH(text) > MAX_ATOM:
        fail(r, f"an atom has {len(text)} characters, more than {MAX_ATOM}")
    return text


cdef object make_atom(Reader* r, unsigned int tag, octets p, Py_ssize_t size):
    cdef Py_ssize_t slot
    cdef PyObject* old
    if size > CACHED:
        return Atom(atom_text(r, tag, p, size))
    slot = cache_slot(p, size)
    old = atom_cache[slot]
    if old != NULL and same_text(<object>old, p, size):
        return <object>old
    atom = Atom(atom_text(r, tag, p, size))
    if PyUnicode_IS_ASCII(atom):
        Py_INCREF(atom)
        old = atom_cache[slot]
        atom_cache[slot] = <PyObject*>atom
        Py_XDECREF(old)
    return atom


cdef inline object text_or_bytes(octets p, Py_ssize_t size):
    cdef PyObject* text = DecodeUTF8(<char*>p, size, NULL)
    if text != NULL:
        value = <object>text
        Py_XDECREF(text)
        return value
    if not PyErr_ExceptionMatches(<object>PyExc_UnicodeDecodeError):
        PyErr_Clear()
        raise MemoryError
    PyErr_Clear()
    return PyBytes_FromStringAndSize(<char*>p, size)


cdef inline object get_binary(Reader* r):
    cdef Py_ssize_t size = get32(take(r, 4))
    cdef octets p = take(r, size)
    if r.wire:
        return PyBytes_FromStringAndSize(<char*>p, size)
    return text_or_bytes(p, size)


cdef object get_bits(Reader* r):
    cdef octets p = take(r, 5)
    cdef Py_ssize_t size = get32(p)
    cdef int bits = p[4]
    if bits > 8 or (bits == 0) != (size == 0):
        fail(r, f"a bit string of {size} bytes cannot use {bits} bits of the last")
    p = take(r, size)
    if 0 < bits < 8:
        return BitString(PyBytes_FromStringAndSize(<char*>p, size), bits)
    return text_or_bytes(p, size)


cdef object get_string(Reader* r):
    cdef Py_ssize_t size = get16(take(r, 2)), i
    cdef octets p
    charge(r, COST_LIST + COST_SLOT * size)
    p = take(r, size)
    result = PyList_New(size)
    for i in range(size):
        number = PyLong_FromLong(p[i])
        Py_INCREF(number)
        PyList_SET_ITEM(result, i, number)
    return result


cdef object get_list(Reader* r, int depth):
    cdef Py_ssize_t size = get32(take(r, 4)), i
    enter(r, size + 1, depth, COST_LIST + COST_SLOT * size)
    items = PyList_New(size)
    for i in range(size):
        r.owed -= 1
        item = get(r, depth + 1)
        Py_INCREF(item)
        PyList_SET_ITEM(items, i, item)
    r.owed -= 1
    if r.pos < r.end and r.data[r.pos] == 106:
        r.pos += 1
        return items
    return get_tail(r, <list>items, depth)


cdef object get_tail(Reader* r, list items, int depth):
    """What follows the elements of a list, when that is not the empty list."""
    cdef Py_ssize_t size, i
    while r.pos < r.end and r.data[r.pos] == 108:
        r.pos += 1
        size = get32(take(r, 4))
        enter(r, size + 1, depth, COST_LIST + COST_SLOT * size)
        for i in range(size):
            r.owed -= 1
            items.append(get(r, depth + 1))
        r.owed -= 1
    tail = get(r, depth + 1)
    if type(tail) is list:
        items.extend(tail)
        return items
    if r.wire:
        fail(r, "an improper list is not allowed in a message")
    return ImproperList(tuple(items), tail) if items else tail


cdef inline object get_tuple(Reader* r, Py_ssize_t arity, int depth):
    cdef Py_ssize_t i
    if arity == 0:
        return ()
    if not r.wire and (arity == 2 or arity == 4):
        special = get_tagged(r, arity)
        if special is not None:
            return special
    enter(r, arity, depth, COST_TUPLE + COST_SLOT * arity)
    items = PyTuple_New(arity)
    for i in range(arity):
        r.owed -= 1
        item = get(r, depth + 1)
        Py_INCREF(item)
        PyTuple_SET_ITEM(items, i, item)
    return items


cdef inline Py_ssize_t is_atom(Reader* r, const char* name, Py_ssize_t size) noexcept:
    """The bytes that the atom `name` takes, when it is what comes next; else 0."""
    cdef octets p = r.data + r.pos
    cdef Py_ssize_t left = r.end - r.pos - size
    if left >= 2 and (p[0] == 119 or p[0] == 115):
        return size + 2 if p[1] == size and memcmp(p + 2, name, size) == 0 else 0
    if left >= 3 and (p[0] == 100 or p[0] == 118):
        return size + 3 if get16(p + 1) == <uint32_t>size and memcmp(p + 3, name, size) == 0 else 0
    return 0


cdef object get_tagged(Reader* r, Py_ssize_t arity):
    """The value of `{bytes, B}` and `{ndarray, D, S, B}`; None for any other tuple."""
    cdef Py_ssize_t start = r.pos, skip, size
    if arity == 2:
        skip = is_atom(r, b"bytes", 5)
        if not skip or r.pos + skip >= r.end or r.data[r.pos + skip] != 109:
            return None
        r.pos += skip + 1
        size = get32(take(r, 4))
        return PyBytes_FromStringAndSize(<char*>take(r, size), size)
    skip = is_atom(r, b"ndarray", 7)
    if not skip:
        return None
    r.pos += skip
    array = get_array(r)
    if array is None:
        r.pos = start
    return array


cdef inline bint next_is(Reader* r, unsigned char tag) noexcept:
    if r.pos < r.end and r.data[r.pos] == tag:
        r.pos += 1
        return True
    return False


cdef object get_array(Reader* r):
    cdef Py_ssize_t size, rank, i
    cdef octets p
    if not next_is(r, 109):
        return None
    size = get32(take(r, 4))
    dtype = PyBytes_FromStringAndSize(<char*>take(r, size), size)
    if not next_is(r, 104):
        return None
    rank = take(r, 1)[0]
    shape = []
    for i in range(rank):
        if r.pos < r.end and r.data[r.pos] not in (97, 98, 110):
            return None
        shape.append(get(r, 0))
    if not next_is(r, 109):
        return None
    size = get32(take(r, 4))
    p = take(r, size)
    view = memoryview(<object>r.source).cast("B")[r.pos - size : r.pos]
    return common.make_array(dtype, tuple(shape), view)


cdef object get_map(Reader* r, int depth):
    cdef Py_ssize_t count = get32(take(r, 4)), i
    result = {}
    if count == 0:
        charge(r, COST_LIST)
        return result
    enter(r, 2 * count, depth, COST_DICT + COST_ENTRY * count)
    seen = None
    for i in range(count):
        r.owed -= 1
        key = get_key(r, depth + 1)
        if not is_plain(key):
            key = common.freeze(key)
            if seen is None:
                seen = {}
            common.note_hash(seen, key)
        r.owed -= 1
        PyDict_SetItem(result, key, get(r, depth + 1))
    if PyDict_Size(result) != count:
        fail(r, "two keys of a map are equal in Python")
    return result


cdef inline bint is_plain(object key):
    """Hashable, and of a hash that nobody can choose."""
    kind = type(key)
    if kind is str or kind is bytes or kind is Atom or key is None or kind is bool:
        return True
    return kind is int and -(1LL << 60) < as_short(key) < (1LL << 60)


cdef inline long long as_short(object number):
    cdef int overflow = 0
    cdef long long n = PyLong_AsLongLongAndOverflow(number, &overflow)
    return n if not overflow else 1LL << 60


cdef object get_key(Reader* r, int depth):
    cdef Py_ssize_t size, slot
    cdef octets p
    if next_is(r, 109):
        size = get32(take(r, 4))
        p = take(r, size)
        if size <= CACHED:
            return cached_bytes(p, size) if r.wire else cached_str(p, size)
        return PyBytes_FromStringAndSize(<char*>p, size) if r.wire else text_or_bytes(p, size)
    r.key_depth += 1
    if r.key_depth > MAX_KEY_DEPTH:
        fail(r, f"maps are keys of maps more than {MAX_KEY_DEPTH} levels deep")
    key = get(r, depth)
    r.key_depth -= 1
    return key


cdef inline object cached_bytes(octets p, Py_ssize_t size):
    cdef Py_ssize_t slot = cache_slot(p, size)
    cdef PyObject* old = bytes_cache[slot]
    if old != NULL and PyBytes_GET_SIZE(<object>old) == size:
        if memcmp(PyBytes_AS_STRING(<object>old), p, size) == 0:
            return <object>old
    key = PyBytes_FromStringAndSize(<char*>p, size)
    Py_INCREF(key)
    bytes_cache[slot] = <PyObject*>key
    Py_XDECREF(old)
    return key


cdef inline object cached_str(octets p, Py_ssize_t size):
    cdef Py_ssize_t slot = cache_slot(p, size)
    cdef PyObject* old = str_cache[slot]
    if old != NULL and same_text(<object>old, p, size):
        return <object>old
    key = text_or_bytes(p, size)
    if type(key) is str and PyUnicode_IS_ASCII(key):
        Py_INCREF(key)
        str_cache[slot] = <PyObject*>key
        Py_XDECREF(old)
    return key


# -- identifiers and funs ------------------------------------------------------------------------

cdef object get_node(Reader* r):
    cdef unsigned int tag = take(r, 1)[0]
    cdef Py_ssize_t size
    if tag == 119 or tag == 115:
        size = take(r, 1)[0]
    elif tag == 100 or tag == 118:
        size = get16(take(r, 2))
    else:
        fail(r, f"a node name is an atom, not tag {tag}")
    return make_atom(r, tag, take(r, size), size)


cdef object external(Reader* r, Py_ssize_t start):
    return PyBytes_FromStringAndSize(<char*>r.data + start, r.pos - start)


cdef object get_creation(Reader* r, bint wide):
    return get32(take(r, 4)) if wide else take(r, 1)[0]


cdef object get_pid(Reader* r, unsigned int tag):
    cdef Py_ssize_t start = r.pos - 1
    node = get_node(r)
    cdef octets p = take(r, 8)
    creation = get_creation(r, tag == 88)
    return Pid(node, get32(p), get32(p + 4), creation, external=external(r, start))


cdef object get_port(Reader* r, unsigned int tag):
    cdef Py_ssize_t start = r.pos - 1
    node = get_node(r)
    number = get64(take(r, 8)) if tag == 120 else get32(take(r, 4))
    creation = get_creation(r, tag != 102)
    return Port(node, number, creation, external=external(r, start))


cdef object get_old_reference(Reader* r):
    cdef Py_ssize_t start = r.pos - 1
    node = get_node(r)
    word = get32(take(r, 4))
    creation = get_creation(r, False)
    return Ref(node, creation, (word,), external=external(r, start))


cdef object get_reference(Reader* r, unsigned int tag):
    cdef Py_ssize_t start = r.pos - 1
    cdef int count = get16(take(r, 2)), i
    if not 1 <= count <= MAX_REF_WORDS:
        fail(r, f"a reference has 1 to {MAX_REF_WORDS} words, not {count}")
    node = get_node(r)
    creation = get_creation(r, tag == 90)
    words = []
    for i in range(count):
        words.append(get32(take(r, 4)))
    return Ref(node, creation, tuple(words), external=external(r, start))


cdef object get_fun(Reader* r, unsigned int tag):
    cdef Py_ssize_t start = r.pos - 1
    cdef Py_ssize_t stop = scan(r.data, start, r.end)
    if stop < 0:
        fail(r, "a fun is malformed, or the bytes end inside it")
    if tag == 112 and <Py_ssize_t>get32(r.data + start + 1) + 1 != stop - start:
        fail(r, "a fun does not have the size it announces")
    r.pos = stop
    return Fun(external(r, start))


cdef Py_ssize_t scan(octets d, Py_ssize_t pos, Py_ssize_t end) noexcept:
    """The position after the term at `pos`, without recursion; -1 when there is none."""
    cdef uint64_t pending = 1
    while pending:
        if pending > <uint64_t>(end - pos):  # each takes a byte at least
            return -1
        pending -= 1
        pos = scan_one(d, pos, end, &pending)
        if pos < 0 or pos > end:
            return -1
    return pos


cdef Py_ssize_t scan_one(octets d, Py_ssize_t pos, Py_ssize_t end, uint64_t* pending) noexcept:
    """After what the term at `pos` has besides the terms inside it, which it adds to `pending`."""
    cdef unsigned int tag = d[pos]
    cdef Py_ssize_t left = end - pos - 1
    cdef octets p = d + pos + 1
    if tag == 106:
        return pos + 1
    if tag == 97:
        return pos + 2
    if tag == 98:
        return pos + 5
    if tag == 70:
        return pos + 9
    if tag == 99:
        return pos + 32
    if left < 1:
        return -1
    if tag == 119 or tag == 115:
        return pos + 2 + p[0]
    if tag == 110:
        return pos + 3 + p[0]
    if tag == 104:
        pending[0] += p[0]
        return pos + 2
    if left < 2:
        return -1
    if tag == 100 or tag == 118 or tag == 107:
        return pos + 3 + get16(p)
    if tag == 90 or tag == 114:
        left = scan_simple(d, pos + 3, end, True)
        return -1 if left < 0 else left + (4 if tag == 90 else 1) + 4 * get16(p)
    if tag == 88 or tag == 120:
        return scan_plus(scan_simple(d, pos + 1, end, True), 12)
    if tag == 103:
        return scan_plus(scan_simple(d, pos + 1, end, True), 9)
    if tag == 89:
        return scan_plus(scan_simple(d, pos + 1, end, True), 8)
    if tag == 101 or tag == 102:
        return scan_plus(scan_simple(d, pos + 1, end, True), 5)
    if tag == 113:
        pos = scan_simple(d, scan_simple(d, pos + 1, end, True), end, True)
        return pos + 2 if 0 <= pos < end and d[pos] == 97 else -1
    if left < 4:
        return -1
    return scan_long(d, pos, end, pending)


cdef Py_ssize_t scan_long(octets d, Py_ssize_t pos, Py_ssize_t end, uint64_t* pending) noexcept:
    """Terms with a count of four bytes."""
    cdef unsigned int tag = d[pos]
    cdef Py_ssize_t count = get32(d + pos + 1)
    if tag == 109:
        return pos + 5 + count
    if tag == 77 or tag == 111:
        return pos + 6 + count
    if tag == 105:
        pending[0] += count
        return pos + 5
    if tag == 108:
        pending[0] += count + 1
        return pos + 5
    if tag == 116:
        pending[0] += 2 * <uint64_t>count
        return pos + 5
    if tag == 112 and end - pos > 30:
        pending[0] += 1 + <uint64_t>get32(d + pos + 26)
        pos = scan_module(d, pos + 30, end)
        return pos if 0 <= pos < end and (d[pos] == 88 or d[pos] == 103) else -1
    if tag == 117 and end - pos > 5 and (d[pos + 5] == 88 or d[pos + 5] == 103):
        pending[0] += count
        return scan_module(d, scan_one(d, pos + 5, end, pending), end)
    return -1


cdef Py_ssize_t scan_module(octets d, Py_ssize_t pos, Py_ssize_t end) noexcept:
    """After the module, index and uniq of a fun."""
    pos = scan_simple(d, pos, end, True)
    return scan_simple(d, scan_simple(d, pos, end, False), end, False)


cdef Py_ssize_t scan_simple(octets d, Py_ssize_t pos, Py_ssize_t end, bint atom) noexcept:
    """After an atom, or else an integer of 32 bits."""
    cdef uint64_t none = 0
    if pos < 0 or pos >= end:
        return -1
    if atom and (d[pos] == 119 or d[pos] == 115 or d[pos] == 100 or d[pos] == 118):
        return scan_one(d, pos, end, &none)
    if not atom and (d[pos] == 97 or d[pos] == 98):
        return scan_one(d, pos, end, &none)
    return -1


cdef inline Py_ssize_t scan_plus(Py_ssize_t pos, Py_ssize_t more) noexcept:
    return pos + more if pos >= 0 else -1


# -- the entry of decoding -----------------------------------------------------------------------

cdef object run_reader(object source, octets data, Py_ssize_t size, Py_ssize_t start, bint wire,
                       int max_depth, Py_ssize_t max_size):
    cdef Reader r
    r.data = data
    r.pos = start
    r.end = size
    r.owed = 0
    r.budget = max_size * MEMORY_FACTOR
    r.max_depth = max_depth
    r.key_depth = 0
    r.wire = wire
    r.source = <PyObject*>source
    value = get(&r, 0)
    if r.pos != r.end:
        raise TermError(f"{r.end - r.pos} bytes follow the term, at byte {r.pos}")
    return value


cdef object run_bytes(object source, octets data, Py_ssize_t size, bint wire, int max_depth,
                      Py_ssize_t max_size):
    if size > max_size:
        raise TermError(f"a term of {size} bytes is larger than {max_size}")
    if size < 1 or data[0] != 131:
        raise TermError("an external term starts with byte 131")
    if not wire and size > 1 and data[1] == 80:
        plain = common.inflate(memoryview(source).cast("B")[2:], max_size)
        data = <octets>PyBytes_AS_STRING(plain)
        return run_reader(plain, data, PyBytes_GET_SIZE(plain), 0, wire, max_depth, max_size)
    return run_reader(source, data, size, 1, wire, max_depth, max_size)


cdef object run_any(object source, bint wire, Py_ssize_t max_depth, Py_ssize_t max_size):
    cdef Py_buffer view
    check_limits(max_depth, max_size)
    if type(source) is bytes:
        return run_bytes(source, <octets>PyBytes_AS_STRING(source), PyBytes_GET_SIZE(source),
                         wire, max_depth, max_size)
    if not isinstance(source, (bytes, bytearray, memoryview)):
        raise TermError(f"an external term is bytes, not {type(source).__qualname__}")
    source = contiguous(source)
    PyObject_GetBuffer(source, &view, PyBUF_SIMPLE)
    try:
        return run_bytes(source, <octets>view.buf, view.len, wire, max_depth, max_size)
    finally:
        PyBuffer_Release(&view)


def decode(data, *, Py_ssize_t max_depth=MAX_DEPTH, Py_ssize_t max_size=MAX_SIZE):
    """The value of an external term; see `_codec_pure.decode`."""
    return run_any(data, False, max_depth, max_size)


def decode_wire(data, *, Py_ssize_t max_depth=MAX_DEPTH, Py_ssize_t max_size=MAX_PACKET):
    """The term of a packet; see `_codec_pure.decode_wire`."""
    return run_any(data, True, max_depth, max_size)


# -- terms of distribution messages, see `_codec_pure_expand` ------------------------------------

cdef struct Expansion:
    octets data
    Py_ssize_t pos
    Py_ssize_t end
    Py_ssize_t copied   # up to where `data` is in the writer
    uint64_t pending


cdef int cut(Expansion* x) except -1:
    raise TermError(f"the bytes end inside a term, at byte {x.end}")


cdef inline int flush(Expansion* x, Writer* w) except -1:
    """Writes what was read and not written yet."""
    if w.pos + x.pos - x.copied > w.limit:
        raise TermError(f"a term is larger than {w.limit}")
    put_raw(w, <char*>x.data + x.copied, x.pos - x.copied)
    x.copied = x.pos
    return 0


cdef int expand_atom(Expansion* x, Writer* w, list atoms) except -1:
    """Writes a cached atom out."""
    cdef Py_ssize_t index
    flush(x, w)
    if x.end - x.pos < 2:
        cut(x)
    index = x.data[x.pos + 1]
    if index >= PyList_GET_SIZE(atoms):
        raise TermError(f"there is no cached atom {index}, at byte {x.pos}")
    atom = <bytes?>atoms[index]
    if w.pos + PyBytes_GET_SIZE(atom) > w.limit:
        raise TermError(f"a term with its atoms written out is larger than {w.limit}")
    put_raw(w, PyBytes_AS_STRING(atom), PyBytes_GET_SIZE(atom))
    x.pos += 2
    x.copied = x.pos
    return 0


cdef int expand_identifier(Expansion* x, Writer* w, list atoms, unsigned int tag) except -1:
    cdef Py_ssize_t after = 12
    cdef unsigned int node
    if tag == 90 or tag == 114:
        if x.end - x.pos < 3:
            cut(x)
        after = (4 if tag == 90 else 1) + 4 * <Py_ssize_t>get16(x.data + x.pos + 1)
        x.pos += 2
    elif tag == 89:
        after = 8
    elif tag == 103:
        after = 9
    elif tag == 101 or tag == 102:
        after = 5
    x.pos += 1
    if x.pos >= x.end:
        cut(x)
    node = x.data[x.pos]
    if node == 82:
        expand_atom(x, w, atoms)
    elif node == 119 or node == 115 or node == 100 or node == 118:
        expand_plain(x, node)
    else:
        raise TermError(f"a node name is an atom, not tag {node}, at byte {x.pos}")
    x.pos += after
    return 0


cdef int expand_plain(Expansion* x, unsigned int tag) except -1:
    """Goes past what the term has besides the terms inside it, which it adds to `pending`."""
    cdef Py_ssize_t left = x.end - x.pos - 1
    cdef octets p = x.data + x.pos + 1
    cdef uint64_t count
    if tag == 106 or tag == 113:
        x.pos += 1
        x.pending += 3 if tag == 113 else 0
    elif tag == 97:
        x.pos += 2
    elif tag == 98:
        x.pos += 5
    elif tag == 70:
        x.pos += 9
    elif tag == 99:
        x.pos += 32
    elif tag == 119 or tag == 115 or tag == 110 or tag == 104:
        if left < 1:
            cut(x)
        x.pos += 2
        if tag == 104:
            x.pending += p[0]
        else:
            x.pos += p[0] + (tag == 110)
    elif tag == 100 or tag == 118 or tag == 107:
        if left < 2:
            cut(x)
        x.pos += 3 + get16(p)
    elif tag in (77, 105, 108, 109, 111, 116, 117):
        if left < 4:
            cut(x)
        count = get32(p)
        x.pos += 5
        if tag == 109:
            x.pos += count
        elif tag == 77 or tag == 111:
            x.pos += count + 1
        else:
            x.pending += count * (2 if tag == 116 else 1)
            x.pending += 1 if tag == 108 else 4 if tag == 117 else 0
    else:
        raise TermError(f"no term of a message starts with {tag}, at byte {x.pos}")
    return 0


cdef list expand_funs(Expansion* x, Writer* w, list funs, unsigned int tag):
    """Notes a fun that begins: where in `data` and the result, and what pends when it is whole."""
    flush(x, w)
    if x.end - x.pos < 30:
        cut(x)
    if funs is None:
        funs = []
    funs.append((x.pos, w.pos, x.pending))
    x.pending += 4 + <uint64_t>get32(x.data + x.pos + 26)
    x.pos += 30
    return funs


cdef int expand_ended(Expansion* x, Writer* w, list funs) except -1:
    """Adds to the sizes of funs that are whole what their cached atoms have added."""
    cdef Py_ssize_t start, at
    cdef uint64_t pending
    while funs:
        start, at, pending = funs[PyList_GET_SIZE(funs) - 1]
        if pending != x.pending:
            return 0
        funs.pop()
        flush(x, w)
        set32(w.buf + at + 1, get32(w.buf + at + 1) + <uint32_t>(w.pos - at - (x.pos - start)))
    return 0


cdef int run_expansion(Expansion* x, Writer* w, list atoms) except -1:
    cdef unsigned int tag
    cdef list funs = None
    while x.pending:
        if x.pos > x.end or x.pending > <uint64_t>(x.end - x.pos):  # each takes a byte at least
            cut(x)
        x.pending -= 1
        tag = x.data[x.pos]
        if tag == 82:
            expand_atom(x, w, atoms)
        elif tag == 88 or tag == 90 or tag == 89 or tag == 120 or tag in (101, 102, 103, 114):
            expand_identifier(x, w, atoms, tag)
        elif tag == 112:
            funs = expand_funs(x, w, funs, tag)
        else:
            expand_plain(x, tag)
        if x.pos > x.end:
            cut(x)
        if funs is not None:
            expand_ended(x, w, funs)
    return flush(x, w)


def expand(bytes data not None, Py_ssize_t pos, list atoms not None, *,
           Py_ssize_t max_size=MAX_PACKET):
    """The external term at `pos` of a distribution message; see `_codec_pure.expand`."""
    cdef Expansion x
    cdef Writer w
    check_limits(MAX_DEPTH, max_size)
    x.data = <octets>PyBytes_AS_STRING(data)
    x.end = PyBytes_GET_SIZE(data)
    if not 0 <= pos <= x.end:
        raise TermError("a message is bytes, and a term starts inside of it")
    x.pos = x.copied = pos
    x.pending = 1
    writer_open(&w, False, MAX_DEPTH, max_size)
    try:
        w.pos = 1
        w.buf[0] = 131
        run_expansion(&x, &w, atoms)
        return PyBytes_FromStringAndSize(<char*>w.buf, w.pos), x.pos
    finally:
        writer_close(&w)


# -- checks of messages --------------------------------------------------------------------------

cdef inline bint is_bytes(object value):
    return type(value) is bytes


cdef inline bint is_natural(object value):
    return type(value) is int and value >= 0


cdef bint is_flat(object headers):
    cdef PyObject* name
    cdef PyObject* value
    cdef Py_ssize_t pos = 0
    if type(headers) is not dict:
        return False
    while PyDict_Next(headers, &pos, &name, &value):
        if not is_bytes(<object>name) or not is_bytes(<object>value):
            return False
    return True


cdef bint is_body(object body):
    if is_bytes(body):
        return True
    if type(body) is not tuple or PyTuple_GET_SIZE(body) != 2 or not is_bytes(body[0]):
        return False
    return body[1] is None or is_natural(body[1])


def is_open(tuple message not None):
    """Whether `message` has the fields of OPEN; see `_fields.is_open`."""
    if PyTuple_GET_SIZE(message) != 10:
        return False
    _, ident, timeout, method, path, query, version, headers, connection, body = message
    return (
        is_natural(ident)
        and ident != 0
        and is_natural(timeout)
        and is_bytes(method)
        and is_bytes(path)
        and is_bytes(query)
        and is_bytes(version)
        and version in HTTP_VERSIONS
        and is_flat(headers)
        and is_bytes(connection)
        and is_body(body)
    )
