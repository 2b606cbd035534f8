"""The DICOM upper layer protocol for TCP/IP (PS3.8 §9), without any I/O.

``events`` says what can happen, ``pdu`` turns bytes into events and back, ``association`` says
what may follow what, ``negotiation`` decides what an acceptor agrees to. Sockets and timers belong
to ``gateway.transport``.
"""
