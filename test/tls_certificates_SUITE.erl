%% SPDX-License-Identifier: Apache-2.0
%% @doc Certificates and keys of the server: kinds of files, faults of files, and new ones while it
%% runs.
-module(tls_certificates_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1]).
-import(tls_case, [options/1, start/1, curl/3, url/2, shake/2]).

-compile([export_all, nowarn_export_all]).

-define(PASSWORD, "geheim-42").

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {minutes, 4}}].

init_per_suite(Config) -> tls_case:files(hornbeam_case:init_quiet_suite(Config)).

end_per_suite(Config) -> hornbeam_case:end_quiet_suite(Config).

end_per_testcase(_, _) -> hornbeam:stop().

%%% Files

kinds_of_keys(Config) ->
    doc("RSA, elliptic curves and Ed25519; in one file with the certificate; encrypted, as openssl "
        "does it today and as it did before."),
    Dir = ?config(dir, Config),
    {RsaCert, RsaKey} = Rsa = tls_files:self_signed(Dir, rsa),
    Both = filename:join(Dir, "both.pem"),
    {ok, Pems} = file:read_file(RsaCert),
    {ok, KeyPem} = file:read_file(RsaKey),
    ok = file:write_file(Both, [KeyPem, Pems]),
    Plain = [#{certfile => C, keyfile => K} || {C, K} <- [Rsa, tls_files:self_signed(Dir, ec),
        tls_files:self_signed(Dir, ed25519)]],
    Encrypted = [#{certfile => RsaCert, keyfile => tls_files:encrypt(RsaKey, ?PASSWORD, How),
        keyfile_password => ?PASSWORD} || How <- [pkcs8, traditional]],
    [
        begin
            Port = start(Files#{ssl => true}),
            ?assertMatch({_, #{version := 'tlsv1.3'}}, {Files, shake(Port, [])}),
            ok = hornbeam:stop()
        end
     || Files <- [#{certfile => Both} | Plain ++ Encrypted]
    ].

certificates_between(Config) ->
    doc("The whole of certfile is sent: a client that knows the root alone verifies it."),
    {SubCert, _} = Sub = ?config(sub, Config),
    {Cert, Key} = tls_files:certificate(?config(dir, Config), "leaf", Sub),
    Chain = Cert ++ ".chain",
    {ok, Leaf} = file:read_file(Cert),
    {ok, Between} = file:read_file(SubCert),
    ok = file:write_file(Chain, [Leaf, Between]),
    Port = start(#{ssl => true, certfile => Chain, keyfile => Key}),
    ?assertMatch("https" ++ _, curl(Config, "", url(Port, "/about"))).

files_that_are_wrong(Config) ->
    doc("Each fault of a file is an error that names the option and the file, and nothing is left "
        "running."),
    Dir = ?config(dir, Config),
    {Cert, Key, Nothing} = {?config(cert, Config), ?config(key, Config), Dir ++ "/nothing"},
    Text = filename:join(Dir, "text"),
    ok = file:write_file(Text, "certainly no certificate"),
    {_, Other} = tls_files:self_signed(Dir, ec),
    Encrypted = tls_files:encrypt(Key, ?PASSWORD, pkcs8),
    Good = options(Config),
    Table = [
        {certfile, Nothing, "no such file", Good#{certfile => Nothing}},
        {certfile, Dir, "directory", Good#{certfile => Dir}},
        {certfile, Text, "no certificate", Good#{certfile => Text}},
        {certfile, Key, "no certificate", Good#{certfile => Key}},
        {certfile, Cert, "no private key", maps:remove(keyfile, Good)},
        {keyfile, Nothing, "no such file", Good#{keyfile => Nothing}},
        {keyfile, Cert, "no private key", Good#{keyfile => Cert}},
        {keyfile, Other, "does not fit", Good#{keyfile => Other}},
        {keyfile, Encrypted, "set keyfile_password", Good#{keyfile => Encrypted}},
        {keyfile_password, Encrypted, "cannot be decrypted",
            Good#{keyfile => Encrypted, keyfile_password => "wrong"}},
        {keyfile_password, Key, "not encrypted", Good#{keyfile_password => ?PASSWORD}},
        {cacertfile, Nothing, "no such file", Good#{verify => required, cacertfile => Nothing}},
        {cacertfile, Text, "no certificate", Good#{verify => optional, cacertfile => Text}}
    ],
    [do_refused(Case) || Case <- Table].

do_refused({Option, File, What, Options}) ->
    {error, Reason} = hornbeam:start("tls_app:application", Options#{bind => 0,
        python => hornbeam_case:python(), pythonpath => [hornbeam_case:apps()]}),
    Sentence = iolist_to_binary(hornbeam:format_error(Reason)),
    [?assertMatch({_, {match, _}}, {Sentence, re:run(Sentence, ["\\Q", Part, "\\E"])})
        || Part <- [atom_to_list(Option), File, What]],
    ?assertEqual(nomatch, string:find(io_lib:format("~p ~ts", [Reason, Sentence]), ?PASSWORD)),
    ?assertEqual(#{status => stopped}, hornbeam:info()),
    ?assertEqual({#{}, []}, {ranch:info(), ets:tab2list(hornbeam_certificates)}).

secrets_stay(Config) ->
    doc("Neither password nor key is in the arguments or states of processes, which reports show."),
    Encrypted = tls_files:encrypt(?config(key, Config), ?PASSWORD, pkcs8),
    _ = start((options(Config))#{keyfile => Encrypted, keyfile_password => ?PASSWORD}),
    Listeners = hornbeam_listeners_sup:listeners(),
    Processes = [hornbeam_sup, hornbeam_listeners_sup, ranch_sup | Listeners],
    Shown = [
        [sys:get_status(P) || P <- Processes], ranch:info(),
        supervisor:get_childspec(hornbeam_listeners_sup, root)
    ],
    [{_, Loaded, _, _}] = ets:tab2list(hornbeam_certificates),
    {'PrivateKeyInfo', Der} = proplists:get_value(key, Loaded),
    All = term_to_binary(Shown),
    ?assertEqual(nomatch, binary:match(All, <<?PASSWORD>>)),
    ?assertEqual(nomatch, binary:match(All, Der)).

%%% New certificates

%% The name in the certificate that a new connection gets.
do_name(Port) ->
    Options = [{verify, verify_none}, {active, false}],
    {ok, Socket} = ssl:connect({127, 0, 0, 1}, Port, Options, 10000),
    {ok, Der} = ssl:peercert(Socket),
    ok = ssl:close(Socket),
    {rdnSequence, Names} = do_subject(public_key:pkix_decode_cert(Der, otp)),
    [Name] = [V || [{'AttributeTypeAndValue', {2, 5, 4, 3}, V}] <- Names],
    case Name of
        {_, Text} -> unicode:characters_to_list(Text);
        _ -> Name
    end.

do_subject({'OTPCertificate', Signed, _, _}) -> element(7, Signed).

%% Served from files of its own, to be overwritten.
do_start_from(Config, Pair) ->
    Files = {filename:join(?config(dir, Config), "live.crt"), filename:join(?config(dir, Config),
        "live.key")},
    do_install(Pair, Files),
    {CertFile, KeyFile} = Files,
    {start(#{ssl => true, certfile => CertFile, keyfile => KeyFile}), Files}.

do_install({Cert, Key}, {CertFile, KeyFile}) ->
    {ok, _} = file:copy(Cert, CertFile),
    {ok, _} = file:copy(Key, KeyFile),
    ok.

reload_by_call(Config) ->
    doc("reload_certificates: new connections get the new certificate, open ones go on with the "
        "worker they had; broken files change nothing."),
    {Port, {CertFile, _} = Files} = do_start_from(Config, {?config(cert, Config), ?config(key,
        Config)}),
    {ok, Old} = ssl:connect({127, 0, 0, 1}, Port, [{verify, verify_none}, {active, false},
        binary], 10000),
    Pid = do_ask(Old),
    ?assertEqual("server", do_name(Port)),
    do_install(tls_files:self_signed(?config(dir, Config), ec), Files),
    ?assertEqual(ok, hornbeam:reload_certificates()),
    ?assertEqual("ec", do_name(Port)),
    ok = file:write_file(CertFile, "broken"),
    ?assertMatch({error, {bad_file, certfile, _, _}}, hornbeam:reload_certificates()),
    ?assertEqual("ec", do_name(Port)),
    ?assertEqual(Pid, do_ask(Old)).

do_ask(Socket) ->
    ok = ssl:send(Socket, "GET /pid HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    {ok, Bytes} = ssl:recv(Socket, 0, 10000),
    [Head, Body] = binary:split(Bytes, <<"\r\n\r\n">>),
    <<"HTTP/1.1 200", _/binary>> = Head,
    case Body of
        <<>> -> element(2, ssl:recv(Socket, 0, 10000));
        _ -> Body
    end.

reload_by_itself(Config) ->
    doc("Files that change are read without being told; while they do not fit, the old ones stay, "
        "and the log says so once."),
    Pair = {?config(cert, Config), ?config(key, Config)},
    {Port, {_, KeyFile} = Files} = do_start_from(Config, Pair),
    ok = do_listen_to_log(),
    {ok, _} = file:copy(element(2, tls_files:self_signed(?config(dir, Config), rsa)), KeyFile),
    Refused = receive {logged, Report} -> Report after 30000 -> error(timeout) end,
    ?assertMatch(#{what := certificates_reload_failed, reason := _}, Refused),
    ?assertMatch({match, _}, re:run(maps:get(reason, Refused), ["keyfile.*", KeyFile])),
    ?assertEqual("server", do_name(Port)),
    do_install(tls_files:self_signed(?config(dir, Config), ec), Files),
    %% Between the two files they may be read once more, and not fit.
    receive {logged, #{what := certificates_reloaded}} -> ok
    after 30000 -> error(timeout)
    end,
    ok = do_stop_listening(),
    ?assertEqual("ec", do_name(Port)).

nothing_to_reload(_) ->
    doc("Without TLS, and without a server, there is nothing to reload."),
    ?assertEqual({error, no_tls}, hornbeam:reload_certificates()),
    _ = start(#{}),
    ?assertEqual({error, no_tls}, hornbeam:reload_certificates()).

%% The listener's log goes to this process.
do_listen_to_log() ->
    ok = logger:set_module_level(hornbeam_listener, notice),
    logger:add_handler(?MODULE, ?MODULE, #{config => #{to => self()}}).

do_stop_listening() ->
    ok = logger:unset_module_level(hornbeam_listener),
    logger:remove_handler(?MODULE).

%% Callback of logger.
log(#{msg := {report, #{what := _} = Report}, meta := #{mfa := {hornbeam_listener, _, _}}},
    #{config := #{to := To}}) ->
    To ! {logged, Report};
log(_, _) ->
    ok.
