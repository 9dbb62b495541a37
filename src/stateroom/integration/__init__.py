"""Durable executions through Resonate, behind the extra ``durable``; nothing below needs it.

To find one's way, from what is used down to what it rests on:

- ``resonate_init`` makes a session durable; ``runtime`` is what that gives, and how it ends;
- ``resonate_functions`` is how Resonate calls, ``retries`` what follows when a cell could not be finished;
- ``durable_cells`` runs a cell so that it is finished for good: the rule is in its docstring; the state
  between two cells is that of ``session_state``;
- ``resonate_bridge`` makes promises of executions, ``input_capability`` of questions, ``step_capability``
  of steps; ``promise_desk`` creates, awaits and settles them; ``request`` names them;
- ``cell_store`` says what keeps finished cells; ``directory_store``, ``sqlite`` and ``postgres`` have one;
- ``sqlite_store`` is a store of promises in one file, ``sqlite`` its parts; ``postgres`` is what several
  machines need: a connection, a lease of a session, cells that are run under it;
- ``durable_script`` runs a file; ``durable_worker`` takes what ``durable_client`` submits; ``inputs`` lists
  and answers questions.

A *result* is an :class:`ExecutionResult`; an *outcome* is one as JSON-safe data: ``outcome``.
"""
