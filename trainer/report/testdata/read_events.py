"""Reads a TensorBoard event file with Google's protobuf and prints it as JSON lines.

The messages are declared here with the numbers of tensorflow/core/util/event.proto and
tensorflow/core/framework/summary.proto; the checksums are computed bit by bit.
"""

import json
import struct
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

F = descriptor_pb2.FieldDescriptorProto


def message(file, name, *fields):
    m = file.message_type.add(name=name)
    for field, number, kind, label, of in fields:
        m.field.add(name=field, number=number, type=kind, label=label, type_name=of)


file = descriptor_pb2.FileDescriptorProto(name="event.proto", package="tf", syntax="proto3")
message(file, "Value", ("tag", 1, F.TYPE_STRING, 1, None), ("simple_value", 2, F.TYPE_FLOAT, 1, None))
message(file, "Summary", ("value", 1, F.TYPE_MESSAGE, 3, ".tf.Value"))
message(file, "Event", ("wall_time", 1, F.TYPE_DOUBLE, 1, None), ("step", 2, F.TYPE_INT64, 1, None),
        ("file_version", 3, F.TYPE_STRING, 1, None), ("summary", 5, F.TYPE_MESSAGE, 1, ".tf.Summary"))
pool = descriptor_pool.DescriptorPool()
pool.Add(file)
Event = message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName("tf.Event"))


def masked_crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def check(data, crc):
    if masked_crc32c(data) != struct.unpack("<I", crc)[0]:
        sys.exit("wrong checksum")


with open(sys.argv[1], "rb") as f:
    while header := f.read(8):
        check(header, f.read(4))
        data = f.read(struct.unpack("<Q", header)[0])
        check(data, f.read(4))
        event = Event.FromString(data)
        print(json.dumps({
            "wall": event.wall_time, "step": event.step, "version": event.file_version,
            "values": {v.tag: v.simple_value for v in event.summary.value},
        }))
