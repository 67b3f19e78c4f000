"""What the fault tests share. Each module is one thing:

payload   what a span holds, as a function of its id
journal   what a program says while it still can, in a file that outlives it
load      the program that is hurt (`python -m harness.load`), and `workload`, which runs it
victim    the program that is killed, with several threads, and `killing`, which does it again and again
evidence  what the tables and the spool hold
judge     sets of ids, and the verdict on them
frames    PostgreSQL's protocol, message by message
wire      a proxy that delays, refuses, swallows and cuts; `cuts` says where
cluster   a server that may be killed
disk      what a power cut would leave of the files of this process
delays    a machine that is busy with something else
small_disk  a disk of a few megabytes, to be filled
outages   a server that is away while a program goes on, in five ways
patience  a product that no stall of the machine hurries
broken    builds of the product with one thing wrong, which the judge must condemn
"""
