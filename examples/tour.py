"""A tour of what a stateroom session does that a plain script does not.

Run it with ``make run``, or with ``stateroom run examples/tour.py``.
"""

import asyncio
import time
import traceback

print("1. Await at the top level: no main(), no asyncio.run().")
await asyncio.sleep(0.1)
doubled = [await asyncio.sleep(0.01, result=n * 2) for n in range(3)]
print(f"   {doubled = }")


print("2. A background task goes on, even while blocking code has the thread.")
ticks = 0


async def tick() -> None:
    """Count the tenths of a second."""
    global ticks
    while True:
        await asyncio.sleep(0.1)
        ticks += 1


ticking = asyncio.create_task(tick())
time.sleep(0.55)
print(f"   time.sleep(0.55) is over, and {ticks = }")


print("3. Output arrives as it is written: ", end="")
for step in range(5):
    print(step, end=" ", flush=True)
    time.sleep(0.2)
print()


print("4. Errors look as Python prints them, carets included.")
marks: list[int] = []
try:
    average = sum(marks) / len(marks)
except ZeroDivisionError:
    traceback.print_exc()


print("5. input() asks whoever runs the session.")
try:
    name = input("   Your name? ")
except EOFError:
    name = "nobody"
    print("(there is no one to ask)")
print(f"   Hello, {name}.")


print("6. The value of the last expression is the value of the cell:")
ticking.cancel()
{"name": name, "doubled": doubled, "ticked": ticks >= 4}
