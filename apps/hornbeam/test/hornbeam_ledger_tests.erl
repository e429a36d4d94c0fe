%% SPDX-License-Identifier: Apache-2.0
%% @doc The ledger as the two sides see it: a real file, this test in place of the worker.
-module(hornbeam_ledger_tests).

-include_lib("eunit/include/eunit.hrl").

%% Each in the one process that opens the file, as a worker process is.
ledger_test_() ->
    [{Name, fun() -> with_ledger(Test) end} || {Name, Test} <- cases()].

with_ledger(Test) ->
    {ok, Ledger, Path} = hornbeam_ledger:create(),
    try
        Test({Ledger, Path})
    after
        hornbeam_ledger:close(Ledger)
    end.

cases() ->
    [
        {"a new ledger is 16 bytes of 0, for its owner alone", fun({Ledger, Path}) ->
            ?assertEqual({ok, <<0:128>>}, file:read_file(Path)),
            ?assertEqual(0, hornbeam_ledger:started(Ledger)),
            {ok, Info} = file:read_file_info(Path),
            ?assertEqual(8#600, element(8, Info) band 8#777)
        end},
        {"the mark of the worker is read, little endian, 64 bits", fun({Ledger, Path}) ->
            [
                begin
                    write(Path, 0, <<Mark:64/little>>),
                    ?assertEqual(Mark, hornbeam_ledger:started(Ledger))
                end
             || Mark <- [1, 255, 256, 1 bsl 40 + 5, 1 bsl 64 - 1]
            ]
        end},
        {"the node writes its own half only", fun({Ledger, Path}) ->
            write(Path, 0, <<7:64/little>>),
            ok = hornbeam_ledger:revoke(9, Ledger),
            ?assertEqual({ok, <<7:64/little, 9:64/little>>}, file:read_file(Path)),
            ok = hornbeam_ledger:allow(Ledger),
            ?assertEqual({ok, <<7:64/little, 0:64>>}, file:read_file(Path))
        end},
        {"the mark is readable when the file has no name any more", fun({Ledger, Path}) ->
            {ok, Worker} = file:open(Path, [read, write, raw, binary]),
            ok = hornbeam_ledger:mapped(Ledger),
            ?assertEqual({error, enoent}, file:read_file(Path)),
            ok = file:pwrite(Worker, 0, <<3:64/little>>),
            ?assertEqual(3, hornbeam_ledger:started(Ledger)),
            ok = file:close(Worker)
        end},
        {"a ledger that was never mapped leaves no file", fun({_, Path}) ->
            {ok, Other, OtherPath} = hornbeam_ledger:create(),
            ?assertNotEqual(Path, OtherPath),
            ok = hornbeam_ledger:close(Other),
            ?assertEqual({error, enoent}, file:read_file(OtherPath))
        end}
    ].

write(Path, Offset, Bytes) ->
    {ok, File} = file:open(Path, [read, write, raw, binary]),
    ok = file:pwrite(File, Offset, Bytes),
    ok = file:close(File).
