"""Sessions of different make behind one shape, that of ``stateroom_session.Session``."""
