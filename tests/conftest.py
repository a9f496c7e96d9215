def pytest_addoption(parser):
    parser.addoption(
        "--interruptions", type=int, default=3, help="how often the run of test_interrupted.py is interrupted"
    )
